"""What builds the samples: made evidence, told apart from real evidence wherever it is used."""
