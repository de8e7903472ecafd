"""A trained model at work: predictions for arrays, an ASE calculator, molecular dynamics."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "Guard": "molecular_dynamics",
        "IrrepNetCalculator": "ase_calculator",
        "Predictor": "predictor",
        "Snapshot": "molecular_dynamics",
        "Trajectory": "molecular_dynamics",
        "nve_steps": "molecular_dynamics",
        "run_nve": "molecular_dynamics",
        "thermal_velocities": "molecular_dynamics",
    },
)
