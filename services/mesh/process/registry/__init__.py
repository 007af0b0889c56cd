"""Who serves what: leases at the control process, a directory in every process, a membership that keeps both true."""
