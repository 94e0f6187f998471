from transformers import BertConfig

from bertpress.tasks.heads import keep_settings, kept_settings, name_outputs


def test_a_configuration_names_its_outputs():
    config = BertConfig()
    name_outputs(config, ("start", "end", "none"))
    assert (config.id2label, config.num_labels) == ({0: "start", 1: "end", 2: "none"}, 3)
    assert config.label2id == {"start": 0, "end": 1, "none": 2}


def test_a_configuration_keeps_the_settings_of_several_kinds(tmp_path):
    config = BertConfig()
    assert kept_settings(config, "qa") == {}
    keep_settings(config, "qa", {"step": 3})
    keep_settings(config, "choice", {"fill_blanks": True})
    keep_settings(config, "qa", {"step": 4})
    config.save_pretrained(tmp_path)
    again = BertConfig.from_pretrained(tmp_path)
    assert (kept_settings(again, "qa"), kept_settings(again, "choice")) == ({"step": 4}, {"fill_blanks": True})
    assert kept_settings(again, "mrc") == {}
