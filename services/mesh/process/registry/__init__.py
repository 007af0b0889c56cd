"""Which process serves what: leases at the control process, and the membership of every other process."""
