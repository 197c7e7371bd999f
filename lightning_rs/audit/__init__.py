"""Does this installation keep its promises? Classifiers whose truth is known, certified the way that everything is."""
