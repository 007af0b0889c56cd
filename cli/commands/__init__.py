"""The commands of `soma`, one file each."""
