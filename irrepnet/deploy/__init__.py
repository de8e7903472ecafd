"""A trained model at work: predictions for arrays and frames, committees, an ASE calculator, molecular dynamics."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "Committee": "committee",
        "CommitteePrediction": "committee",
        "Factor": "committee",
        "Guard": "guard",
        "IrrepNetCalculator": "ase_calculator",
        "Predictor": "predictor",
        "Snapshot": "trajectory",
        "Thermostat": "langevin",
        "Trajectory": "trajectory",
        "calibrate": "calibration",
        "load_committee": "committee_file",
        "load_model_or_committee": "committee_file",
        "nve_steps": "molecular_dynamics",
        "nvt_steps": "langevin",
        "predict_frames": "predict_frames",
        "run_nve": "molecular_dynamics",
        "run_nvt": "langevin",
        "save_committee": "committee_file",
        "thermal_velocities": "molecular_dynamics",
    },
)
