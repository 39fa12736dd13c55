"""A random Llama of a quarter million parameters, made without a network: the model of tests and of ``smoke.yaml``.

Everything about it is real but its skill: transformers loads it, vLLM serves it, PEFT adapts it, and it has a
byte-level BPE tokenizer with a ChatML template in which a longer conversation's tokens extend a shorter one's.
The same seed gives the same bytes.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from copilot.models.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCABULARY = 896
CONTEXT = 8192

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

_TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\\n\\n' }}{% endif %}
{{- 'Tools:\\n' }}
{%- for tool in tools %}{{ tool | tojson }}{{ '\\n' }}{% endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if not (tools and loop.first and message['role'] == 'system') %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

_CORPUS = '''
You are a coding agent for biomedical data science. Answer the question with the data of the hospital.
Write one action per message. Allowed actions: request_info, terminal, execute_code, debug, submit.
system user assistant tool. Use Python code in a fenced block: ```python ... ``` and submit the answer with a variable.
{"action": "execute_code", "params": {"code": "import pandas as pd"}}
{"action": "submit", "params": {"answer": "answer"}}
{"action": "request_info", "params": {"info_type": "column_names", "data_path": "/data/ehr.db", "keyterm": ""}}
<tool_call>{"name": "execute_code", "arguments": {"code": "print(answer)"}}</tool_call>
import sqlite3, json
connection = sqlite3.connect("/data/ehr.db")
rows = connection.execute(query).fetchall()
answer = [row[0] for row in rows]
answer = sql("""SELECT COUNT(DISTINCT admissions.subject_id) FROM admissions WHERE admissions.hadm_id IN (
SELECT prescriptions.hadm_id FROM prescriptions WHERE prescriptions.drug = 'aspirin')""")
SELECT patients.gender FROM patients WHERE patients.subject_id = 10021
SELECT MAX(labevents.valuenum) FROM labevents JOIN d_labitems ON labevents.itemid = d_labitems.itemid
WHERE d_labitems.label = 'glucose' AND strftime('%Y', labevents.charttime) = '2100' ORDER BY charttime DESC LIMIT 1
CREATE TABLE admissions ( row_id INT PRIMARY KEY, subject_id INT, hadm_id INT, admittime TIMESTAMP, dischtime TIMESTAMP,
admission_type VARCHAR, insurance VARCHAR, language VARCHAR, marital_status VARCHAR, age INT,
FOREIGN KEY (subject_id) REFERENCES patients(subject_id) )
icustays, diagnoses_icd, procedures_icd, d_icd_diagnoses, d_icd_procedures, chartevents, inputevents, outputevents,
microbiologyevents, transfers, cost, d_items, long_title, short_title, icd_code, event_type, event_id, careunit, wardid
How many patients were admitted to the hospital this year? What is the total cost of the stay of patient 10021?
What was the last measured creatinine of the patient? Compute the score from the note, and give the number.
Traceback (most recent call last): NameError: name is not defined
KeyError; ValueError; OperationalError: no such column
The patient is a 65 year old man with a heart rate of 92,
a blood pressure of 130/80 mmHg, sodium 138 mEq/L, weight 70 kg.
0 1 2 3 4 5 6 7 8 9 true false null None True False ( ) [ ] { } = == != < > <= >= + - * / % . , : ; ' "
'''


def make_tiny(folder: Path, *, seed: int = 0) -> Path:
    """Write the tiny model to ``folder``.

    Args:
        folder: Made if missing.
        seed: Of the weights; the tokenizer is always the same.

    Returns:
        ``folder``.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,  # the smallest head that vLLM's CPU attention takes
        max_position_embeddings=CONTEXT,
        initializer_range=0.1,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def tiny_tokenizer() -> "PreTrainedTokenizerBase":
    """A byte-level BPE tokenizer of :data:`VOCABULARY` tokens, trained on a page of text in this module."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator([_CORPUS], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = _TEMPLATE
    return tokenizer
