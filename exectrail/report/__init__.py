"""Sessions as one file of HTML that opens anywhere: without a network, for those who do not have the command."""
