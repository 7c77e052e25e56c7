"""Training arguments of Transformers 4 that version 5 no longer has, and what a recipe writes instead."""

_OWN_PRECISION = "use precision: auto, float32, bf16 or fp16"

#: Name -> what to do, as the end of a sentence. Checked against the installed version by a test.
INSTEAD = {
    "adafactor": "use optim: adafactor",
    "dispatch_batches": 'use accelerator_config: {"dispatch_batches": ...}',
    "evaluation_strategy": "use eval_strategy",
    "fp16_backend": _OWN_PRECISION,
    "fp16_opt_level": _OWN_PRECISION,
    "fsdp_min_num_params": 'use fsdp_config: {"min_num_params": ...}',
    "fsdp_transformer_layer_cls_to_wrap": 'use fsdp_config: {"transformer_layer_cls_to_wrap": [...]}',
    "group_by_length": "leave it out: all pictures of a run have the same size",
    "half_precision_backend": _OWN_PRECISION,
    "include_inputs_for_metrics": "use include_for_metrics: [inputs]",
    "include_tokens_per_second": "leave it out: pictures have no tokens to count",
    "jit_mode_eval": "leave it out, or use torch_compile",
    "logging_dir": "set the environment variable TENSORBOARD_LOGGING_DIR",
    "mp_parameters": "leave it out",
    "no_cuda": "use use_cpu",
    "overwrite_output_dir": "leave it out: resume with resume_from_checkpoint, or choose another output_dir",
    "past_index": "leave it out: these models keep no past states",
    "per_gpu_eval_batch_size": "use per_device_eval_batch_size",
    "per_gpu_train_batch_size": "use per_device_train_batch_size",
    "push_to_hub_model_id": "use hub_model_id",
    "push_to_hub_organization": "use hub_model_id: ORG/NAME",
    "push_to_hub_token": "use hub_token, or log in with `hf auth login`",
    "ray_scope": "leave it out: train.py runs no search",
    "save_safetensors": "leave it out: weights are always saved as safetensors",
    "sharded_ddp": "use fsdp",
    "split_batches": 'use accelerator_config: {"split_batches": ...}',
    "torchdynamo": "use torch_compile_backend",
    "tpu_metrics_debug": "use debug: tpu_metrics_debug",
    "tpu_num_cores": "leave it out: the launcher counts the cores",
    "use_ipex": "leave it out",
    "use_legacy_prediction_loop": "leave it out",
    "use_mps_device": "leave it out: the device is found by itself",
    "warmup_ratio": "use warmup_steps, where a value below 1 is a share of all steps",
    "xpu_backend": "use ddp_backend",
}


def gone(name: str) -> str | None:
    """The sentence's end for an argument or a flag of Transformers 4; None for any other name."""
    name = name.lstrip("-").replace("-", "_")
    return f" is gone in Transformers 5: {INSTEAD[name]}." if name in INSTEAD else None
