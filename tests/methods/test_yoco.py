"""YOCO-BERT: its space, its phases, the rows that it holds out, its request, and what its training lowers."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import batch_of, make_config, make_model, without_dropout

from bertpress import losses
from bertpress.errors import RequestError
from bertpress.fingerprints import split_digest
from bertpress.methods.method import Training
from bertpress.methods.yoco import Options, Search, Yoco, steps, supernet
from bertpress.methods.yoco.distribution import uniform
from bertpress.methods.yoco.drawing import Drawer, Drawn
from bertpress.methods.yoco.elastic import choosing, elastic
from bertpress.methods.yoco.held_out import divide, held_out_rows
from bertpress.methods.yoco.opening import narrowed, phase_at, phases, widened
from bertpress.methods.yoco.options import resolve
from bertpress.methods.yoco.space import LayerShape, Space, SubNetwork
from bertpress.methods.yoco.super_network import distribution_over
from bertpress.methods.yoco.supernet import SuperNet
from bertpress.methods.yoco.truncating import truncated_layers
from bertpress.tasks.classification import Classification

OPTIONS = Options(depth=(2, 4), heads=(1, 2), widths=(8, 24), depth_policy="first")


def bert_base(**fields: Any) -> Any:
    from transformers import BertConfig

    return BertConfig(**fields)


# The space


def test_the_default_space_is_the_papers() -> None:
    space = resolve(Options(), bert_base())
    assert space.depths == (6, 8, 10, 12)
    assert space.options[0] == tuple((heads, width) for width in (512, 768, 1024, 3072) for heads in (4, 8, 12))
    assert space.count() == 8_978_450_780_160  # 12^6 + 12^8 + 12^10 + 12^12
    assert space.sizes == (4, *[12] * 12)
    minilm = resolve(Options(), bert_base(num_hidden_layers=6, hidden_size=384, intermediate_size=1536))
    assert minilm.depths == (3, 4, 5, 6)
    assert {width for _, width in minilm.options[0]} == {256, 384, 512, 1536}


def test_the_category_of_a_layer_is_three_times_its_width_plus_its_heads() -> None:
    space = resolve(Options(), bert_base())
    assert space.options[3][0] == (4, 512)
    assert space.options[3][11] == (12, 3072)
    assert space.options[3][3 * 2 + 1] == (8, 1024)


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ((4, 8), (4, 8)),
        ((1 / 3, 1.0), (4, 12)),
        (("1/3", "50%", 12), (4, 6, 12)),
        (("0.25", "0.5"), (3, 6)),
        ((8, 4, 8), (4, 8)),
        ((1, 1.0), (1, 12)),
    ],
)
def test_options_are_numbers_or_shares(amounts: Any, expected: Any) -> None:
    space = resolve(Options(heads=amounts), bert_base())
    assert tuple(sorted({heads for heads, _ in space.options[0]})) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": ()}, "space.heads is empty"),
        ({"heads": (13,)}, "space.heads must be numbers from 1 to 12"),
        ({"heads": (0,)}, "space.heads must be numbers from 1 to 12"),
        ({"depth": (1.5,)}, "space.depth must be numbers from 1 to 12"),
        ({"widths": (4000,)}, "space.widths must be numbers from 1 to 3072"),
        ({"layers": {12: {"heads": (4,)}}}, "the model has layers 0 to 11, got 12"),
        ({"layers": {3: {"heads": (40,)}}}, r"space.layers.3.heads must be numbers from 1 to 12"),
        ({"layers": {3: {"heads": (4,)}}, "uniform": True}, "layers of one shape cannot have options of their own"),
    ],
)
def test_a_bad_space_is_refused_with_the_legal_range(options: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        resolve(Options.model_validate(options), bert_base())


def test_options_of_one_layer_replace_those_of_all() -> None:
    space = resolve(Options(layers={2: {"heads": (12,)}}), bert_base())
    assert {heads for heads, _ in space.options[2]} == {12}
    assert {heads for heads, _ in space.options[1]} == {4, 8, 12}


@pytest.mark.parametrize(
    ("policy", "expected"), [("first", (0, 1, 2)), ("uniform", (0, 2, 4)), ("importance", (1, 4, 5))]
)
def test_each_depth_has_one_set_of_layers(policy: str, expected: Any) -> None:
    options = Options(depth=(3,), depth_policy=policy)
    space = resolve(options, bert_base(num_hidden_layers=6), ranking=[4, 1, 5, 0, 2, 3])
    assert space.layer_sets == (expected,)


def test_choices_and_sub_networks_stand_for_each_other() -> None:
    space = resolve(OPTIONS, make_config())
    for choice in ((0, 0, 3, -1, -1), (1, 0, 1, 2, 3)):
        assert space.choice_of(space.sub_network(choice)) == choice
    network = space.sub_network((0, 0, 3, -1, -1))
    assert network == SubNetwork((LayerShape(0, 1, 8), LayerShape(1, 2, 24)))
    assert SubNetwork.of(network.to_list()) == network
    assert len({network, SubNetwork.of(network.to_list())}) == 1
    assert Space.of(space.to_dict()) == space


def test_a_network_outside_of_the_space_is_refused() -> None:
    space = resolve(OPTIONS, make_config())
    with pytest.raises(RequestError, match="no sub-network of layers 0, 1, 2"):
        space.choice_of(SubNetwork(tuple(LayerShape(layer, 1, 8) for layer in range(3))))
    with pytest.raises(RequestError, match="no 2 heads and width 9 for layer 1"):
        space.choice_of(SubNetwork((LayerShape(0, 1, 8), LayerShape(1, 2, 9))))
    with pytest.raises(ValueError, match="origins rising"):
        SubNetwork((LayerShape(1, 1, 8), LayerShape(0, 1, 8)))


def test_in_a_uniform_space_one_slot_decides_about_every_layer() -> None:
    space = resolve(
        Options(depth=(2, 4), heads=(1, 2), widths=(8, 24), uniform=True, depth_policy="first"), make_config()
    )
    assert space.count() == 8
    assert str(space.sub_network((0, 1))) == "0:2x8 1:2x8"
    assert space.choice_of(space.largest) == (1, 3)
    with pytest.raises(RequestError, match="layers of one shape"):
        space.choice_of(SubNetwork((LayerShape(0, 1, 8), LayerShape(1, 2, 8))))


def test_stock_shapes_have_all_heads_and_one_width() -> None:
    space = resolve(OPTIONS, make_config()).stock()
    assert space.is_stock
    assert space.options == (((2, 8), (2, 24)),)
    with pytest.raises(RequestError, match="need all 2 heads"):
        resolve(Options(heads=(1,), widths=(8, 24)), make_config()).stock()


def test_a_space_within_the_trained_one_is_accepted_and_another_is_not() -> None:
    trained = resolve(OPTIONS, make_config())
    smaller = resolve(Options(depth=(2,), heads=(2,), widths=(8,), depth_policy="first"), make_config())
    assert smaller.missing_from(trained) == []
    assert trained.stock().missing_from(trained) == []
    other = resolve(Options(depth=(3, 4), heads=(2,), widths=(8, 16), depth_policy="first"), make_config())
    assert "layers 0, 1, 2" in other.missing_from(trained)
    assert "2 heads and width 16 in layer 0" in other.missing_from(trained)
    assert trained.missing_from(trained.stock())


# The original's phases


def test_the_phases_of_the_default_space_are_the_papers() -> None:
    found = phases(resolve(Options(), bert_base()), ("heads", "widths", "depth"))
    assert len(found) == 8
    counts = [space.count() for space in found]
    assert counts[:5] == [2**12, 3**12, 6**12, 9**12, 12**12]
    assert counts[5:] == [12**10 + 12**12, 12**8 + 12**10 + 12**12, 8_978_450_780_160]
    assert found[0].options[0] == ((8, 3072), (12, 3072))


def test_what_the_progression_leaves_out_is_open_from_the_start() -> None:
    found = phases(resolve(Options(), bert_base()), ("depth",))
    assert [space.depths for space in found] == [(10, 12), (8, 10, 12), (6, 8, 10, 12)]
    assert all(len(space.options[0]) == 12 for space in found)
    single = resolve(Options(depth=(12,), heads=(12,), widths=(3072,)), bert_base())
    assert phases(single, ("heads", "widths", "depth")) == [single]


def test_phases_take_their_share_of_the_steps() -> None:
    assert [phase_at(step, 10, (1, 1)) for step in range(10)] == [0] * 5 + [1] * 5
    assert [phase_at(step, 10, (2, 1, 2)) for step in range(10)] == [0] * 4 + [1] * 2 + [2] * 4
    assert phase_at(10, 10, (1, 1)) == 1


def test_a_closed_option_gets_nothing_and_the_rest_adds_to_one() -> None:
    space = resolve(OPTIONS, make_config())
    part = space.opened(heads=1, widths=2, depths=1)
    theta = uniform(space.sizes)
    theta[1] = [0.1, 0.2, 0.3, 0.4]
    found = narrowed(theta, space, part)
    np.testing.assert_allclose(found[1, :2], [0.2 / 0.6, 0.4 / 0.6])  # two heads only
    np.testing.assert_allclose(found.sum(1), 1)
    assert space.sub_network(widened((0, 0, 1, 0, 1), space, part)) == part.sub_network((0, 0, 1, 0, 1))


# The rows of the search


def test_rows_whose_labels_were_corrected_are_other_rows(task: Any) -> None:
    rows = task.splits["train"]
    flipped = [1 - label for label in rows["label"][:]]
    splits = {**task.splits, "train": rows.remove_columns("label").add_column("label", flipped)}
    other = Classification(dataclasses.replace(task.data, splits=splits), task.tokenizer, task.max_length)
    assert split_digest(other, "validation") == split_digest(task, "validation")
    assert split_digest(other, "train") != split_digest(task, "train")


@pytest.mark.parametrize(("rows", "held"), [(3668, 734), (4999, 1000), (5000, 500), (67_349, 5000), (2, 1)])
def test_a_fifth_of_few_rows_and_a_tenth_of_many_is_held_out(rows: int, held: int) -> None:
    assert held_out_rows(rows, None) == held


def test_rows_of_the_search_are_not_trained_on(task: Any) -> None:
    own, split = divide(Search(), task, seed=3)
    held, trained = (set(own.encoded(name)["row"]) for name in (split, "train"))
    assert len(held) == 19
    assert not held & trained
    assert held | trained == set(range(96))
    assert len(own.splits[split]) == 19
    assert set(divide(Search(), task, seed=3)[0].encoded(split)["row"]) == held
    assert set(divide(Search(), task, seed=4)[0].encoded(split)["row"]) != held
    assert own.scored_splits() == ["validation"]
    assert own.has_labels(split)


def test_a_split_that_is_reported_on_is_no_split_to_search_on(task: Any) -> None:
    with pytest.raises(RequestError, match="'validation' is a split that is trained or reported on"):
        divide(Search(split="validation"), task, seed=1)
    with pytest.raises(RequestError, match="has no split 'other'"):
        divide(Search(split="other"), task, seed=1)


# The request


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learn_from": "teacher", "teacher": "none"}, "needs a teacher"),
        ({"logit_weight": 0, "hidden_weight": 0}, "drawn networks learn nothing"),
        ({"phase_lengths": (1.0,)}, "phase_lengths are those of the strategy progressive"),
        ({"progression": ("heads", "heads")}, "at most once"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(fields: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Yoco(**fields)


@pytest.mark.parametrize(
    ("budget", "layers"),
    [
        ({}, 6),
        ({"parameters": "50%"}, 6),
        ({"parameters": "34%"}, 4),
        ({"parameters": "1%"}, 1),
        ({"parameters": 66_955_008 + 1538}, 6),
        ({"parameters": 66_955_008 + 1537}, 5),
        ({"macs": "51%"}, 6),
        ({"latency_ms": 7.5}, 12),
    ],
)
def test_the_truncated_baseline_has_as_many_layers_as_the_budget_has_room_for(budget: Any, layers: int) -> None:
    assert truncated_layers(Yoco(**budget), bert_base()) == layers


# What training lowers


@pytest.fixture
def networks() -> tuple[SubNetwork, SubNetwork]:
    return (
        SubNetwork((LayerShape(0, 1, 24), LayerShape(1, 2, 8))),
        SubNetwork(tuple(LayerShape(layer, 2, 8) for layer in range(4))),
    )


def objective(
    task: Any, model_of_teacher: Any = None, options: Options = OPTIONS, layers: int = 4, **fields: Any
) -> SuperNet:
    method = Yoco(space=options, **fields)
    model = elastic(make_model(**without_dropout(num_hidden_layers=layers))).requires_grad_(True)
    space = resolve(options, model.config)
    drawer = Drawer(method, space, model.config, 1, distribution_over(space), refresh=2)
    own, split = divide(method.search, task, 1)
    return SuperNet(model, own, method, drawer, split, {"largest": space.largest}, model_of_teacher).train()


def drawn(space: Space, networks: Any) -> Drawn:
    return Drawn(tuple(map(space.choice_of, networks)), networks)


def test_a_sandwich_is_the_largest_the_smallest_and_the_drawn_networks(task: Any, networks: Any) -> None:
    teacher = make_model(seed=5, **without_dropout())
    found = objective(task, teacher, teacher_weight=0.5, hidden_weight=0.1, label_weight=0.2, temperature=2.0)
    found.impose(drawn(found.drawer.space, networks))
    batch = batch_of(task)
    expected = torch.zeros(())
    runs = {}
    for network in (found.drawer.space.largest, found.drawer.space.smallest, *networks):
        with choosing(found.model, network):
            runs[network] = task.forward(found.model, batch, output_hidden_states=True)
    with torch.no_grad():
        taught = task.forward(teacher, batch)
    largest, *others = runs
    expected = task.example_losses(runs[largest], batch).mean()
    expected = expected + 0.5 * losses.kl_divergence(runs[largest].logits, taught.logits, 2.0).mean()
    for network in others:
        own = runs[network]
        expected = expected + losses.kl_divergence(own.logits, runs[largest].logits.detach(), 2.0).mean()
        expected = expected + 0.2 * task.example_losses(own, batch).mean()
        for place, layer in enumerate(network.layers):
            last = place == len(network.layers) - 1  # what the head reads is compared with what the head reads
            target = runs[largest].hidden_states[-1 if last else 1 + layer.origin].detach()
            expected = expected + 0.1 * losses.hidden_loss(
                own.hidden_states[1 + place], target, batch["attention_mask"]
            )
    torch.testing.assert_close(found.training_loss(batch), expected)


def test_layers_are_compared_by_origin_where_the_largest_network_lacks_some(task: Any) -> None:
    options = Options(depth=(3, 4), heads=(1, 2), widths=(8, 24))
    found = objective(task, options=options, layers=6, teacher="none", logit_weight=0, hidden_weight=0.1)
    space = found.drawer.space
    assert space.layer_sets == ((0, 2, 4), (0, 1, 3, 4))
    found.impose(drawn(space, (space.largest,)))
    batch = batch_of(task)
    runs = {}
    for network in (space.largest, space.smallest):
        with choosing(found.model, network):
            runs[network] = task.forward(found.model, batch, output_hidden_states=True)
    own, target = runs[space.smallest].hidden_states, [state.detach() for state in runs[space.largest].hidden_states]
    pairs = [(own[1], target[1]), (own[3], target[4])]  # layer 0 and the last one; there is no layer 2 to imitate
    distances = [losses.hidden_loss(state, expected, batch["attention_mask"]) for state, expected in pairs]
    expected = task.example_losses(runs[space.largest], batch).mean() + 0.1 * sum(distances)
    torch.testing.assert_close(found.training_loss(batch), expected)  # the drawn one is the largest, at no distance


def test_layers_that_no_network_runs_have_no_gradient(task: Any) -> None:
    some = objective(task, options=Options(depth=(3,), heads=(1, 2), widths=(8, 24)), teacher="none")
    assert some.unused_parameters
    some.training_loss(batch_of(task)).backward()
    assert some.model.bert.encoder.layer[3].output.dense.weight.grad is None
    assert not objective(task, teacher="none").unused_parameters


def test_drawn_networks_teach_the_largest_nothing(task: Any, networks: Any) -> None:
    """What they imitate is detached: without losses of its own the largest network gets no gradient."""
    found = objective(task, teacher_weight=0.0, teacher="none")
    found.impose(drawn(found.drawer.space, networks))
    batch = {name: value for name, value in batch_of(task).items() if name != "labels"}
    found._compare = lambda *_: None  # type: ignore[method-assign]  # without labels and teacher nothing to compare
    found.training_loss(batch).backward()
    layers = found.model.bert.encoder.layer
    top = layers[3].output.dense.weight.grad
    assert top[:, 8:].abs().sum() == 0  # columns that only the largest network uses
    assert top[:, :8].abs().sum() > 0


def test_a_single_step_trains_the_first_network_and_compares_the_others(task: Any, networks: Any) -> None:
    found = objective(task, strategy="single", teacher="none")
    found.impose(drawn(found.drawer.space, networks))
    batch = batch_of(task)
    with choosing(found.model, networks[0]):
        expected = task.example_losses(task.forward(found.model, batch), batch).mean()
    total = found.training_loss(batch)
    torch.testing.assert_close(total, expected)
    total.backward()
    assert found.model.bert.encoder.layer[3].output.dense.weight.grad is None
    assert set(found.spent.sums) == {"0", "1"}
    assert found.unused_parameters


def test_the_better_network_of_a_step_becomes_more_probable(task: Any, networks: Any) -> None:
    found = objective(task)
    found.impose(drawn(found.drawer.space, networks))
    before = found.distribution()
    found.training_loss(batch_of(task))
    values = [float(found.spent.sums[str(place)]) for place in range(2)]
    found.before_update()
    after = found.distribution()
    better = found.drawer.space.choice_of(networks[int(np.argmin(values))])
    worse = found.drawer.space.choice_of(networks[int(np.argmax(values))])
    assert after.theta[0, better[0]] > before.theta[0, better[0]]
    assert after.theta[1, better[1]] > before.theta[1, better[1]]
    assert after.theta[1, worse[1]] < before.theta[1, worse[1]]
    np.testing.assert_allclose(after.theta[3], before.theta[3], rtol=1e-12)  # a layer that one of the two does not have


@pytest.mark.parametrize("learn", [False, True])
def test_defect_15_evenly_drawn_networks_move_nothing_unless_asked(learn: bool, task: Any, networks: Any) -> None:
    found = objective(task, learn_from_explored=learn)
    found.impose(dataclasses.replace(drawn(found.drawer.space, networks), explored=True))
    before = found.distribution().theta
    found.training_loss(batch_of(task))
    found.before_update()
    assert np.array_equal(found.distribution().theta, before) != learn


def test_how_often_to_exploit_is_computed_anew_when_it_is_due(task: Any, networks: Any) -> None:
    found = objective(task)  # every second step
    found.exploit.fill_(0.5)
    for step in range(2):
        found.step = step
        found.impose(drawn(found.drawer.space, networks))
        found.training_loss(batch_of(task))
        found.before_update()
        assert float(found.exploit) == (found.drawer.exploit(found.distribution()) if step else 0.5)
    assert float(found.exploit) == pytest.approx(0.9)


def test_processes_that_learned_different_things_end_the_training(
    task: Any, networks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = objective(task)
    supernet.check_equal(found.distribution())
    monkeypatch.setattr(supernet, "mean_over_processes", lambda number: number * (1 + 1e-6))
    with pytest.raises(RuntimeError, match="processes have learned different distributions"):
        supernet.check_equal(found.distribution())
    found.step = 1
    found.impose(drawn(found.drawer.space, networks))
    found.training_loss(batch_of(task))
    with pytest.raises(RuntimeError, match="processes have learned different distributions"):
        found.before_update()


def test_losses_that_are_not_finite_are_counted_and_end_the_training_in_the_end(task: Any, networks: Any) -> None:
    found = objective(task)
    found.drawn = drawn(found.drawer.space, networks)
    before = found.distribution().theta

    def step(loss: float) -> dict[str, float]:
        found.spent.add(**{"0": torch.tensor(loss), "1": torch.tensor(1.0)})
        found.before_update()
        return found.progress()

    assert step(math.nan)["dropped"] == 1
    np.testing.assert_array_equal(found.distribution().theta, before)
    assert step(2.0)["dropped"] == 1
    for _ in range(99):
        step(math.inf)
    with pytest.raises(FloatingPointError, match="not finite in 100 steps in a row up to 1; lower the learning rate"):
        step(math.inf)
    assert "dropped" not in objective(task).progress()


def test_what_was_learned_is_in_the_checkpoint(task: Any, networks: Any) -> None:
    found, other = objective(task), objective(task)
    found.impose(drawn(found.drawer.space, networks))
    found.training_loss(batch_of(task))
    found.before_update()
    other.load_state_dict(found.state_dict())
    np.testing.assert_array_equal(other.distribution().theta, found.distribution().theta)
    assert other.distribution().spread == found.distribution().spread


def test_micro_batches_of_a_step_draw_the_same_and_steps_do_not(task: Any) -> None:
    found = objective(task)
    distribution = found.distribution()
    first = found.drawer.draw(distribution, 0.9, 3, 100)
    assert found.drawer.draw(distribution, 0.9, 3, 100) == first
    assert len({found.drawer.draw(distribution, 0.9, step, 100).choices for step in range(20)}) > 10


def test_what_was_learned_is_drawn_and_what_is_explored_is_not(task: Any) -> None:
    found = objective(task, same_cost=False)
    distribution = found.distribution()
    distribution.theta[1:] = 0.0
    distribution.theta[1:, 3] = 1.0  # the widest layer with all heads
    for exploit, same in ((1.0, True), (0.0, False)):
        shapes = {
            (layer.heads, layer.intermediate_size)
            for step in range(10)
            for network in found.drawer.draw(distribution, exploit, step, 10).networks
            for layer in network.layers
        }
        assert (shapes == {(2, 24)}) == same


def test_a_progressive_training_draws_from_what_is_open_in_its_phase(task: Any) -> None:
    found = objective(task, strategy="progressive", progression=("heads", "depth"), same_cost=False)

    def seen(steps: range) -> tuple[set[int], set[int], set[int]]:
        networks = [
            network for step in steps for network in found.drawer.draw(found.distribution(), 0.5, step, 60).networks
        ]
        layers = [layer for network in networks for layer in network.layers]
        return (
            {len(network.layers) for network in networks},
            {layer.heads for layer in layers},
            {layer.intermediate_size for layer in layers},
        )

    assert len(found.drawer.parts) == 2
    assert seen(range(30)) == ({4}, {1, 2}, {8, 24})
    assert seen(range(30, 60)) == ({2, 4}, {1, 2}, {8, 24})


def test_networks_that_are_compared_cost_about_the_same(task: Any) -> None:
    from bertpress.methods.yoco.costs import extremes, parameter_costs

    found = objective(task)
    space = resolve(Options(), bert_base())
    drawer = Drawer(found.method, space, bert_base(), 1, distribution_over(space), refresh=2)
    cost = parameter_costs(space, bert_base(), None, "encoder")
    low, high = (cost.of(space, choice) for choice in extremes(space, cost))
    drawn_costs = [
        [cost.of(space, choice) for choice in drawer.draw(drawer.start, 0.5, step, 40).choices] for step in range(40)
    ]
    assert all(max(pair) <= 1.1**2 * min(pair) for pair in drawn_costs)
    for start in range(0, 40, 4):  # any few steps meet small and large networks, each halving as often
        smaller = sum(pair[0] < (low * high) ** 0.5 for pair in drawn_costs[start : start + 4])
        assert 1 <= smaller <= 3


@pytest.mark.parametrize(("processes", "fields"), [(1, {"batch_size": 2}), (2, {"batch_size": 1, "max_steps": 7})])
def test_exploiting_is_refreshed_after_a_share_of_the_epoch_in_any_number_of_processes(
    processes: int, fields: dict[str, int], task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "world_size", lambda: processes)
    method = Yoco(space=OPTIONS, supernet=Training(**fields))
    model = elastic(make_model())
    run: Any = SimpleNamespace(seed=1, runtime=SimpleNamespace(say=print))
    found = steps.objective_of(method, model, resolve(OPTIONS, model.config), task, "train", run, None)
    assert len(task.encoded("train")) == 96
    assert found.drawer.refresh == 2  # 5 % of 48 steps


def test_a_loss_that_is_always_zero_is_told(task: Any, networks: Any) -> None:
    told: list[str] = []
    found = objective(task)
    found.say = told.append
    for _ in range(100):
        found._noted("smallest_distance", torch.zeros(()))
    assert told == [
        "warning: smallest_distance was 0 in 100 passes, so it teaches nothing; check its weight and the teacher."
    ]


def test_scores_are_those_of_the_probes_on_the_rows_of_the_search(task: Any) -> None:
    found = objective(task).eval()
    found.probes["smallest"] = found.drawer.space.smallest
    scores = found.scores("validation", torch.device("cpu"))
    assert set(scores) == {"largest", "smallest", "score_of_probes"}
    assert scores["score_of_probes"] == pytest.approx((scores["largest"] + scores["smallest"]) / 2)
    assert found.shown == found.drawer.space.largest
