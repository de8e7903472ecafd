"""Training: one validated configuration, a loop that reads top to bottom, losses, metrics and exact resume."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "ErrorRow": "metrics",
        "Evaluation": "metrics",
        "LabelledGraphs": "samples",
        "RunConfig": "config",
        "RunFolder": "run_folder",
        "TrainResult": "loop",
        "describe_config": "config_file",
        "evaluate": "metrics",
        "error_rows": "metrics",
        "force_field_loss": "losses",
        "format_errors": "metrics",
        "label_graphs": "samples",
        "learning_rate": "schedule",
        "load_config": "config_file",
        "load_splits": "splits",
        "train": "loop",
    },
)
