"""Training: one validated configuration, a loop that reads top to bottom, losses, metrics and exact resume."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "BatchStream": "batch_stream",
        "ErrorRow": "metrics",
        "Evaluation": "metrics",
        "ItemSizes": "item_sizes",
        "LabelledGraphs": "samples",
        "LazyItems": "samples",
        "Ranks": "distributed",
        "RunConfig": "config",
        "RunFolder": "run_folder",
        "TrainResult": "loop",
        "batch_indices": "samples",
        "describe_config": "config_file",
        "error_rows": "metrics",
        "evaluate": "metrics",
        "force_field_loss": "losses",
        "format_errors": "metrics",
        "label_graphs": "samples",
        "learning_rate": "schedule",
        "load_config": "config_file",
        "load_evaluation": "evaluation_file",
        "load_splits": "splits",
        "save_evaluation": "evaluation_file",
        "train": "loop",
    },
)
