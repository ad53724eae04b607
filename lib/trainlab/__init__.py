"""trainlab: schedules, losses with exact gradients, and training with replicas, in NumPy.

The library of the textbook *Training Strategies and Loss Functions for Large Models*.
``data`` needs scikit-learn and ``figures`` needs Matplotlib; the rest needs NumPy alone.
"""

__version__ = "0.1.0"
