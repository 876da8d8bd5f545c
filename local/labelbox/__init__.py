"""Stand-in of Labelbox: the GraphQL operations of model training, as the real labelbox SDK 7.17.0 speaks them."""
