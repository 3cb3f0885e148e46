"""What the program passes on: plain frozen data, by how far it has come."""
