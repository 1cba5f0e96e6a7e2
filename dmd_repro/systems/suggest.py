"""What a word of the field means here: `lr`, `bs`, `dropout`, `seed` lead to the setting or the option that does it.

Spelling alone would lead from `lr` to `layers`. The words are those of the public codes' command lines and
configuration files (DMD's and MMSA's config.json, MulT's and MISA's options) and of the usual training libraries.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from dmd_repro.errors import nearest

_SETTINGS: Mapping[str, str] = {  # settings, of which a system may have some: the words that lead to them
    "learning_rate": "lr rate learningrate learn_rate base_lr init_lr initial_lr lr_init eta step_size",
    "batch_size": "batch bs batchsize batch_sz minibatch mini_batch_size train_batch_size per_device_train_batch_size",
    "weight_decay": "wd decay weightdecay l2 l2_reg l2_penalty reg regularization",
    "accumulate": "update_epochs update_batches batch_chunk accum grad_accum accumulation accumulation_steps "
    "gradient_accumulation gradient_accumulation_steps accumulate_grad_batches",
    "max_epochs": "epochs epoch num_epochs n_epochs nepochs nb_epochs max_epoch num_train_epochs train_epochs",
    "early_stop": "early_stopping earlystop early_stop_patience early_stopping_patience es_patience",
    "early_stop plateau_patience": "patience",
    "plateau_patience": "when lr_patience scheduler_patience",
    "plateau_factor": "lr_decay lr_factor decay_factor decay_rate factor",
    "plateau_patience plateau_factor": "scheduler lr_scheduler sched warmup warmup_steps warmup_ratio",
    "clip_value clip_norm": "clip grad_clip gradient_clip gradient_clipping clip_grad gradient_clip_val max_grad",
    "clip_norm": "max_grad_norm clip_grad_norm grad_norm max_norm",
    "adam_beta1 adam_beta2": "beta betas adam_betas",
    "adam_beta1": "beta1 beta_1 momentum",
    "adam_beta2": "beta2 beta_2",
    "adam_eps": "eps epsilon adam_epsilon",
    "optimizer": "optim opt solver",
    "order": "shuffle shuffling",
    "precision": "tf32 fp16 bf16 fp32 float16 float32 half amp autocast mixed_precision dtype",
    "selection_loss": "loss criterion monitor key_eval keyeval eval_metric",
    "bert_finetune": "finetune fine_tune finetune_bert use_finetune freeze freeze_bert bert_freeze frozen",
    "dropout attn_dropout relu_dropout res_dropout embed_dropout text_dropout output_dropout dropout_l dropout_a "
    "dropout_v dropout_out": "dropout drop_out drop_rate dropout_rate dropout_prob dropout_p keep_prob",
    "attn_dropout attn_dropout_a attn_dropout_v": "attn_drop attention_dropout attn_dropout_l attention_dropout_prob",
    "output_dropout dropout_out": "out_dropout final_dropout head_dropout hidden_dropout",
    "embed_dropout": "embedding_dropout emb_dropout",
    "res_dropout": "residual_dropout resid_dropout",
    "d hidden hidden_l hidden_a hidden_v h_l h_a h_v": "dim dims hidden hidden_size hidden_dim hidden_dims d_model "
    "model_dim embed_dim embedding_dim emb_dim proj_dim dst_feature_dim width units",
    "d heads": "dst_feature_dim_nheads",
    "heads": "nheads nhead n_heads n_head num_heads num_attention_heads attention_heads",
    "layers": "nlevels nlayers n_layers n_layer num_layers num_layer num_hidden_layers depth levels",
    "kernel_l kernel_a kernel_v": "kernel kernels kernel_size conv_kernel conv1d_kernel_size conv1d_kernel_size_l "
    "conv1d_kernel_size_a conv1d_kernel_size_v",
    "gd_homo gd_hetero": "gd_size",
    "gd_homo": "gd_size_low",
    "gd_hetero": "gd_size_high",
    "edge_reg_weight": "gd_reg",
    "repr_weight": "w_losses w_losses_low w_losses_high",
    "lambda_dec lambda_dtl": "lambda lambdas loss_weight loss_weights",
    "lambda_dec": "lambda1 lambda_1",
    "lambda_dtl": "lambda2 lambda_2",
    "margin_alpha margin_scale": "alpha margin_value",
    "causal_mask": "attn_mask attention_mask mask_attention causal",
    "align": "ctc aligner",
}
_OPTIONS: Mapping[str, str] = {  # options, of which a command has some: the words that lead to them
    "--seed --seeds": "seed seeds random_seed manual_seed rand_seed rng",
    "--epochs": "epochs epoch max_epochs num_epochs n_epochs nepochs max_epoch num_train_epochs train_epochs",
    "--data": "data dataset datasets data_set dataset_name data_name data_path datapath dataset_path dataroot "
    "data_root feature features feature_path featurepath",
    "--text": "text text_type text_kind language",
    "--bert": "bert bert_model bert_path bert_name bert_dir use_bert pretrained pretrained_model tokenizer",
    "--device": "device gpu gpus gpu_id gpu_ids cuda use_cuda use_gpu no_cuda device_id accelerator",
    "--jobs --threads": "jobs n_jobs num_jobs workers num_workers nproc threads num_threads",
    "--protocol": "protocol mode recipe",
    "--drop": "ablation ablate drop_part without mask parts part",
    "--rows": "row rows method methods",
    "--runs-dir": "runs run_dir save save_dir save_path model_save_dir model_save_path res_save_dir log_dir logdir "
    "output_dir out_dir results_dir checkpoint_dir exp_dir",
    "--data-dir": "datadir store feature_dir cache_dir data_folder",
    "--model": "model model_name modelname net arch",
    "--dry-run": "dryrun plan",
    "--yes": "force y assume_yes confirm",
    "--output": "out output outfile output_file",
}
MOST = 8  # names that a suggestion lists


def suggest(word: str, settings: Iterable[str]) -> str:
    """Return what to do about an unknown setting: the one it means, the option it is, else the nearest in spelling."""
    known = set(settings)
    if found := meant(word, known):
        return _did_you_mean([f"'{name}'" for name in found])
    options = _meant(_OPTIONS, _plain(word))
    if options and not _near(_plain(word), known, 0.85):
        return f"Did you mean the option {' or '.join(options)}?"
    return nearest(word, known)


def meant(word: str, settings: Iterable[str]) -> list[str]:
    """Return the settings, of those, that a word of the field means; [] where it is none of its words."""
    known = set(settings)
    return [name for name in _meant(_SETTINGS, _plain(word)) if name in known]


def suggest_option(option: str, options: Iterable[str], settings: Iterable[str], arguments: Iterable[str] = ()) -> str:
    """Return what to do about an unknown option of a command that has these; `settings` () where it has no --set.

    `arguments` are what the command takes without an option, by name: the system of `dmd train`.
    """
    there = {_plain(name): name for name in sorted(options)}
    low, known = _plain(option), set(settings)
    if not _near(low, there, 0.85):
        low = (
            _near(low, {word for said in (*_OPTIONS.values(), *_SETTINGS.values()) for word in said.split()}, 0.85)
            or low
        )
    by_option, by_setting = _meant(_OPTIONS, low), _meant(_SETTINGS, low)
    if found := [name for name in by_option if name in there.values()]:
        return _did_you_mean(found)
    if found := [name for name in arguments if name in (low, *(o.lstrip("-") for o in by_option))]:
        return f"Write the {found[0]} without an option, right after the command"
    if found := [name for name in dict.fromkeys([low, *by_setting]) if name in known]:
        if len(found) == 1:
            return _did_you_mean([f"--set {found[0]}=VALUE"])
        return _did_you_mean(found, "--set NAME=VALUE, NAME being ")
    # a word that is understood, and that this command has nothing for, is hardly another one misspelt
    if close := _near(low, there, 0.85 if by_option or by_setting else 0.6):
        return _did_you_mean([there[close]])
    return f"It has {', '.join(there.values())}"


def suggest_key(word: str, keys: Iterable[str]) -> str:
    """Return what to do about an unknown key of a file of defaults, whose keys are options without their dashes."""
    known, low = set(keys), _plain(word)
    if found := [name.lstrip("-") for name in _meant(_OPTIONS, low) if name.lstrip("-") in known]:
        return _did_you_mean([f"'{name}'" for name in found])
    settings = {name for names in _SETTINGS for name in names.split()}
    if found := [low] if low in settings else _meant(_SETTINGS, low):
        return f"It is a setting, which a command takes: --set {found[0]}=VALUE"
    return nearest(word, known)


def _near(word: str, words: Iterable[str], cutoff: float) -> str:
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)), "")


def _meant(words: Mapping[str, str], word: str) -> list[str]:
    return [name for names, said in words.items() if word in said.split() for name in names.split()]


def _did_you_mean(names: list[str], how: str = "") -> str:
    shown = names[:MOST]
    words = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
    return f"Did you mean {how}{words}?"


def _plain(word: str) -> str:
    return word.strip().lstrip("-").lower().replace("-", "_")
