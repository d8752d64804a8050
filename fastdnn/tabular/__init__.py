"""What TabularClassifier and TabularRegressor are made of: features, targets, the recipe, members of an ensemble."""
