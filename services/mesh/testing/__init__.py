"""What tests of the mesh and of services stand on: real servers, databases, meshes in one process."""
