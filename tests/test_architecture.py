"""The shape of the package: imports run downward only, and one place to touch per new thing."""

import ast
import inspect
import pathlib
import typing

import pytest

import fastdnn

PACKAGE = pathlib.Path(fastdnn.__file__).parent
ORDER = [
    "_collector",
    "_guard",
    "_importing",
    "_stamp",
    "_cache",
    "_threads",
    "_jit",
    "_records",
    "_isa",
    "_simd",
    "_dots",
    "_math",
    "_rows",
    "_atomic",
    "_system",
    "quick",
    "quick.files",
    "quick.keeping",
    "quick.linking",
    "quick.symbols",
    "quick.samples",
    "quick.running",
    "quick.machine_code",
    "_phases",
    "gemm",
    "narrowing",
    "transpose",
    "pairing",
    "rng",
    "specs",
    "initializers",
    "inputs",
    "layers.base",
    "layers.masks",
    "layers.activation_function",
    "layers.activations",
    "layers.elementwise",
    "layers.spectral_norm",
    "layers.weighted",
    "layers.dense_pairs",
    "layers.dense",
    "layers.noise",
    "layers.batch_norm",
    "layers.windows",
    "layers.conv_products",
    "layers.narrow_products",
    "layers.conv_pairs",
    "layers.conv",
    "layers.conv_transpose",
    "layers.depthwise_rows",
    "layers.depthwise",
    "layers.pool_windows",
    "layers.masked_pool",
    "layers.pooling",
    "layers.resampling",
    "layers.warping",
    "layers.augmentation",
    "layers.layer_norm",
    "layers.shape",
    "layers.rescaling",
    "layers.sampling",
    "layers.scale",
    "layers.parametric_activation",
    "layers.piecewise_linear",
    "layers.periodic_embedding",
    "layers.category_embedding",
    "layers.columns",
    "layers.embedding",
    "layers.recurrent_rows",
    "layers.recurrent_forward",
    "layers.recurrent_backward",
    "layers.recurrent",
    "layers.simple_rnn",
    "layers.lstm",
    "layers.gru",
    "layers.bidirectional",
    "layers",
    "gather",
    "gather_mixed",
    "sources",
    "data.ahead",
    "data.arrow",
    "data.blocks",
    "data.parquet",
    "data.paging",
    "data.places",
    "data.buffer",
    "data",
    "preprocessing.sequences",
    "preprocessing.text",
    "preprocessing.windows",
    "preprocessing.table_columns",
    "preprocessing.table_frames",
    "preprocessing.table_kinds",
    "preprocessing.table",
    "preprocessing.table_states",
    "preprocessing",
    "losses.base",
    "losses.cross_entropy",
    "losses.classification",
    "losses.regression",
    "losses.linear",
    "losses.policy_gradient",
    "losses.adversarial",
    "losses",
    "schedules.base",
    "schedules.decays",
    "schedules.cycles",
    "schedules.reactions",
    "schedules",
    "optimizers.base",
    "optimizers.sgd",
    "optimizers.adaptive",
    "optimizers.schedule_free",
    "optimizers.lbfgs",
    "optimizers",
    "layout",
    "builder",
    "program",
    "tables",
    "calls",
    "parts",
    "engine",
    "forward",
    "norms",
    "shards",
    "truncation",
    "binding",
    "thread_choice",
    "ordering",
    "training",
    "frozen.narrow_kernels",
    "sharing",
    "inference",
    "evaluation",
    "summary",
    "diagram",
    "html",
    "scoring",
    "displays",
    "history",
    "convergence",
    "callbacks.base",
    "callbacks.stopping",
    "callbacks.rates",
    "callbacks.checkpoint",
    "callbacks.logs",
    "callbacks.monitor",
    "callbacks",
    "validation",
    "progress",
    "network",
    "quick.relocations",
    "quick.taking",
    "weights",
    "stepper",
    "steps",
    "minimizing",
    "mixing",
    "feeding",
    "fitting",
    "preparing",
    "streaming",
    "saving.errors",
    "saving.container",
    "saving.plain",
    "saving.state",
    "saving.torch_layers",
    "saving.torch_weights",
    "onnx.reading",
    "onnx.patterns",
    "onnx.dimensions",
    "onnx.drafts",
    "onnx.functions",
    "onnx.tracing",
    "onnx.calls",
    "onnx.folding",
    "onnx.operators_of_numbers",
    "onnx.operators_of_matrices",
    "onnx.operators_of_images",
    "onnx.operators_of_sequences",
    "onnx.operators_of_shapes",
    "onnx.importing",
    "saving.files",
    "saving",
    "frozen.narrow",
    "frozen.sparse_kernels",
    "frozen.sparse_dense",
    "frozen.folding",
    "frozen.files",
    "frozen.estimators",
    "frozen.report",
    "frozen.predictor",
    "frozen.calibration",
    "frozen.freezing",
    "frozen",
    "predictions",
    "model",
    "compress.pruning",
    "compress.gradual",
    "compress.units",
    "compress.importance",
    "compress.shrinking",
    "compress.quantization",
    "compress",
    "adversarial_training",
    "saving.pairs",
    "adversarial_checks",
    "adversarial",
    "extending",
    "tabular.metrics",
    "tabular.targets",
    "tabular.features",
    "tabular.tasks",
    "tabular.recipe",
    "tabular.statistics",
    "tabular.members",
    "tabular.ensemble",
    "tabular.streamed",
    "tabular.explaining",
    "tabular",
    "frozen.table_files",
    "frozen.tables",
    "frozen.loading",
    "estimators._mlp_docs",
    "estimators._dnn_docs",
    "estimators._tabular_docs",
    "estimators._mlp_solver",
    "estimators._sklearn",
    "estimators._restore",
    "estimators._steps",
    "estimators._predict",
    "estimators._tasks",
    "estimators._parameters",
    "estimators._bridge",
    "estimators._freezing",
    "estimators._weights",
    "estimators._blas",
    "estimators._mlp_solving",
    "estimators._mlp",
    "estimators._streams",
    "estimators._dnn",
    "estimators.dnn_classifier",
    "estimators.dnn_regressor",
    "estimators.mlp_classifier",
    "estimators.mlp_regressor",
    "estimators._autoencoder",
    "estimators.autoencoder",
    "estimators.variational_autoencoder",
    "estimators._tabular_insight",
    "estimators._tabular_streams",
    "estimators._tabular",
    "estimators.tabular_classifier",
    "estimators.tabular_regressor",
    "estimators",
    "inspection",
    "searching",
    "distributed.connecting",
    "distributed.exchange",
    "distributed.cost",
    "distributed.placement",
    "distributed.crew",
    "distributed.worker",
    "distributed.partitions",
    "distributed.fleet",
    "distributed.driver",
    "distributed.predicting",
    "distributed.local",
    "distributed.fitting_dnn",
    "distributed.dnn",
    "distributed.fitting_tabular",
    "distributed.tabular",
    "distributed",
    "",
    "predictor",
    "onnx.graph",
    "onnx.tensors",
    "onnx.registry",
    "onnx.activations",
    "onnx.dense",
    "onnx.convolution",
    "onnx.masks",
    "onnx.pooling",
    "onnx.norms",
    "onnx.shape",
    "onnx.tables",
    "onnx.scanning",
    "onnx.recurrent",
    "onnx.links",
    "onnx.network",
    "onnx.doubles",
    "onnx.dates",
    "onnx.table_inputs",
    "onnx.table_matrix",
    "onnx.labels",
    "onnx.answers",
    "onnx.tabular",
    "onnx.facts",
    "onnx.estimators",
    "onnx.converting",
    "onnx.scalers",
    "onnx.imputer",
    "onnx.target_scaling",
    "onnx.nested",
    "onnx.pipeline_inputs",
    "onnx.pipelines",
    "onnx.export",
    "onnx",
    "__main__",
]


def modules():
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(name, path):
    """Names of the modules of the package that a module imports, as in ORDER."""
    package = name.split(".") if path.name == "__init__.py" and name else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] if package else []
            target = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                inner = f"{target}.{alias.name}".strip(".")
                yield inner if inner in ORDER else target


def test_every_module_has_its_place():
    assert sorted(name for name, _ in modules()) == sorted(ORDER)


def test_imports_run_downward():
    for name, path in modules():
        for target in imports(name, path):
            assert ORDER.index(target) < ORDER.index(name), (
                f"{name or 'fastdnn'} imports {target or 'fastdnn'}, which is above it"
            )


def test_numba_options_stand_in_one_file():
    for name, path in modules():
        if name != "_jit":
            text = path.read_text()
            assert "njit(" not in text, path
            assert "fastmath" not in text, path


def test_public_names_are_documented():
    for name in fastdnn.__all__:
        thing = getattr(fastdnn, name)
        assert thing.__doc__, name
        for member in getattr(thing, "__all__", [m for m in dir(thing) if not m.startswith("_")]):
            value = getattr(thing, member, None)
            assert not callable(value) or value.__doc__, f"{name}.{member}"


TABLES = {
    "layers": fastdnn.layers.LAYERS,
    "activations": {name: type(f) for name, f in fastdnn.layers.ACTIVATIONS.items()},
    "initializers": fastdnn.initializers.INITIALIZERS,
    "losses": fastdnn.losses.LOSSES_TABLE,
    "optimizers": fastdnn.optimizers.OPTIMIZERS,
    "schedules": fastdnn.schedules.SCHEDULES,
}


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, names in TABLES.items() for name in names])
def test_every_name_of_a_table_has_formula_reference_and_example(table, name):
    doc = TABLES[table][name].__doc__  # the examples are run as doctests
    assert ">>> " in doc
    assert "Reference" in doc
    assert any(sign in doc.split("Examples")[0] for sign in "=^(<-|") or table in ("layers", "activations", "initializers")


@pytest.mark.parametrize("name", ["Model", "MLPClassifier", "MLPRegressor", "DNNClassifier", "DNNRegressor"])
def test_public_methods_have_type_hints_that_resolve(name):
    cls = getattr(fastdnn, name)
    found = {n: f for n, f in inspect.getmembers(cls, inspect.isfunction) if f.__module__.startswith("fastdnn")}
    public = {n: inspect.unwrap(f) for n, f in found.items() if not n.startswith("_") or n == "__init__"}
    internal = {
        "check",
        "clear_padding",
        "go_back",
        "history_keys",
        "keep_best",
        "make_writable",
        "predict_plain",
        "restore_best",
    }
    for method, function in public.items():
        if method not in internal:
            hints = typing.get_type_hints(function)
            assert {*inspect.signature(function).parameters, "return"} - {"self"} <= hints.keys(), method
