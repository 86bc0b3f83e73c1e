"""The layouts that people have: a declaration each, and which of them a schema is of.

To add one is to add a `Layout`, and a sample of its rows to the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from beam_argilla.columns import Columns, Literal
from beam_argilla.errors import InputError
from beam_argilla.input import chat
from beam_argilla.input.find_parents import Parents
from beam_argilla.input.plain import plain_type
from beam_argilla.input.roles import missing_columns, numbered, type_at
from beam_argilla.scale import Scale

AUTO = 'auto'


@dataclass(frozen=True)
class Layout:
    """One way in which generations are written down.

    Attributes:
        name: what it is called, as in ``--layout NAME``.
        source: whose data look so.
        columns: what its columns mean. Those that are not there are left out, but for the texts.
        needs: column or path → kinds of it that a schema must have to be of this layout: ``text``, ``number``,
            ``truth``, ``time``, ``struct``, ``conversation``, or lists of them, ``texts``, ``numbers``, …;
            alternatives with ``|``.
        lacks: columns that data of this layout do not have.
        metadata: columns that are kept as metadata besides, as terms.
        repeated: several rows may be of one instruction, so that even wide rows have to be grouped.
        prompts: what the file with the prompts calls its instruction and its key, where they are in another file
            (`ReadGenerations.prompts`).
        parents: by which columns messages find what was said before them, where each row is a message.
        example: one row.
    """

    name: str
    source: str
    columns: Columns
    needs: Mapping[str, str]
    lacks: Sequence[str] = ()
    metadata: Sequence[str] = ()
    repeated: bool = False
    prompts: Prompts | None = None
    parents: Parents | None = None
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_joined(self) -> bool:
        """Whether the instructions of rows are in other rows or files."""
        return self.prompts is not None or self.parents is not None


@dataclass(frozen=True)
class Prompts:
    """How prompts that are in another file are found.

    Attributes:
        key: the column of the generations that says which prompt theirs is; so it is called in the prompts' file, too.
        instruction: the column or path of the prompt in its file.
    """

    key: str
    instruction: str


# Where a prompt is looked for in its file, if nobody says so.
USUAL_PROMPTS = ('instruction', 'prompt', 'messages', 'body.messages', 'turns[0]', 'question', 'body.prompt', 'text')


_TEXT, _CHAT = 'text', 'conversation'
_EITHER = 'text|conversation'
_PROMPTS = ('prompt', 'instruction', 'question', 'query', 'input', 'context', 'history', 'system', 'conversations')
# Which of two answers is the better one, as each of them sees it.
_WINNER = (
    Scale({'model_a': 1, 'tie': 0.5, 'tie (bothbad)': 0.5, 'both_bad': 0.5, 'model_b': 0}),
    Scale({'model_a': 0, 'tie': 0.5, 'tie (bothbad)': 0.5, 'both_bad': 0.5, 'model_b': 1}),
)
_PAIR = Columns('prompt', ['chosen', 'rejected'])
_IMPLICIT_PAIR = Columns('chosen', ['chosen', 'rejected'])

# What the examples say.
_Q, _A, _B = 'Say hello.', 'Hello!', 'Go away.'


def _said(answer: str) -> list[dict[str, str]]:
    return [{'role': 'user', 'content': _Q}, {'role': 'assistant', 'content': answer}]


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            'distilabel',
            'distilabel: TextGeneration and other tasks that write a generation per row',
            Columns(),
            {'instruction': _TEXT, 'generation': 'text|texts|conversation'},
            example={'instruction': _Q, 'generation': _A, 'model_name': 'm1', 'rating': 5},
        ),
        Layout(
            'distilabel_wide',
            'distilabel: UltraFeedback and GroupColumns',
            Columns(),
            {'instruction': _TEXT, 'generations': 'texts|conversations'},
            example={'instruction': _Q, 'generations': [_A, _B], 'generation_models': ['m1', 'm2'], 'ratings': [5, 1]},
        ),
        Layout(
            'ultrafeedback',
            'openbmb/UltraFeedback: the mean of the four aspects (the overall score has known errors)',
            Columns(
                generation='completions[].response',
                model_name='completions[].model',
                rating='completions[].fine-grained_score',
                rationale='completions[].critique',
                agent=Literal('gpt-4'),
                scale=Scale((1, 5)),
            ),
            {'instruction': _TEXT, 'completions[].response': 'texts', 'completions[].model': 'texts'},
            example={'instruction': _Q, 'completions': [{'model': 'm1', 'response': _A, 'fine-grained_score': 4.5}]},
        ),
        Layout(
            'ultrafeedback_binarized',
            'HuggingFaceH4/ultrafeedback_binarized',
            Columns(
                'prompt',
                ['chosen', 'rejected'],
                instruction_id='prompt_id',
                rating=['score_chosen', 'score_rejected'],
                agent=Literal('gpt-4'),
                scale=Scale((1, 10)),
            ),
            {
                'prompt': _EITHER,
                'chosen': _EITHER,
                'rejected': _EITHER,
                'score_chosen': 'number',
                'score_rejected': 'number',
            },
            example={
                'prompt': _Q,
                'prompt_id': 'p1',
                'chosen': _said(_A),
                'rejected': _said(_B),
                'score_chosen': 8.5,
                'score_rejected': 1.0,
            },
        ),
        Layout(
            'dpo_mix',
            'argilla/dpo-mix-7k and other pairs with ratings',
            Columns(
                'chosen',
                ['chosen', 'rejected'],
                rating=['chosen_rating', 'rejected_rating'],
                scale=Scale((1, 5)),
            ),
            {'chosen': _CHAT, 'rejected': _CHAT, 'chosen_rating': 'number', 'rejected_rating': 'number'},
            _PROMPTS,
            example={'chosen': _said(_A), 'rejected': _said(_B), 'chosen_rating': 5.0, 'rejected_rating': 1.0},
        ),
        Layout(
            'hh_rlhf',
            'Anthropic/hh-rlhf: dialogues as text',
            _IMPLICIT_PAIR,
            {'chosen': _TEXT, 'rejected': _TEXT},
            _PROMPTS,
            example={
                'chosen': f'\n\nHuman: {_Q}\n\nAssistant: {_A}',
                'rejected': f'\n\nHuman: {_Q}\n\nAssistant: {_B}',
            },
        ),
        Layout(
            'shp',
            'stanfordnlp/SHP: pairs of comments on a post (votes are no ratings, and are left out)',
            Columns('history', ['human_ref_A', 'human_ref_B'], instruction_id='post_id'),
            {'history': _TEXT, 'human_ref_A': _TEXT, 'human_ref_B': _TEXT},
            repeated=True,
            example={'post_id': 'p1', 'history': _Q, 'human_ref_A': _A, 'human_ref_B': _B, 'score_A': 20, 'labels': 1},
        ),
        Layout(
            'helpsteer2',
            'nvidia/HelpSteer2 and HelpSteer: the helpfulness, from 0 to 4',
            Columns('prompt', 'response', rating='helpfulness', scale=Scale((0, 4))),
            {'prompt': _TEXT, 'response': _TEXT, 'helpfulness': 'number', 'correctness': 'number'},
            metadata=('correctness', 'coherence', 'complexity', 'verbosity'),
            example={
                'prompt': _Q,
                'response': _A,
                'helpfulness': 4,
                'correctness': 4,
                'coherence': 4,
                'complexity': 0,
                'verbosity': 1,
            },
        ),
        Layout(
            'helpsteer3',
            'nvidia/HelpSteer3: from -3 (the first is much better) to 3',
            Columns(
                'context',
                ['response1', 'response2'],
                rating=['overall_preference', 'overall_preference'],
                scale=(Scale((3, -3)), Scale((-3, 3))),
            ),
            {'context': _EITHER, 'response1': _TEXT, 'response2': _TEXT, 'overall_preference': 'number'},
            example={'context': _said(_A)[:1], 'response1': _A, 'response2': _B, 'overall_preference': -3},
        ),
        Layout(
            'rewardbench',
            'allenai/reward-bench',
            Columns(
                'prompt',
                ['chosen', 'rejected'],
                instruction_id='id',
                model_name=['chosen_model', 'rejected_model'],
            ),
            {'prompt': _TEXT, 'chosen': _TEXT, 'rejected': _TEXT, 'chosen_model': _TEXT, 'rejected_model': _TEXT},
            example={
                'id': 7,
                'prompt': _Q,
                'chosen': _A,
                'chosen_model': 'm1',
                'rejected': _B,
                'rejected_model': 'm2',
            },
        ),
        Layout(
            'rm_bench',
            'THU-KEG/RM-Bench: several chosen and several rejected answers',
            Columns('prompt', ['chosen', 'rejected'], instruction_id='id'),
            {'prompt': _TEXT, 'chosen': 'texts', 'rejected': 'texts'},
            example={'id': 'p1', 'prompt': _Q, 'chosen': [_A, 'Hi!'], 'rejected': [_B, 'No.']},
        ),
        Layout(
            'arena',
            'lmsys/chatbot_arena_conversations and mt_bench_human_judgments',
            Columns(
                'conversation_a',
                ['conversation_a', 'conversation_b'],
                model_name=['model_a', 'model_b'],
                rating=['winner', 'winner'],
                agent='judge',
                scale=_WINNER,
            ),
            {'conversation_a': _CHAT, 'conversation_b': _CHAT, 'model_a': _TEXT, 'model_b': _TEXT},
            repeated=True,
            example={
                'model_a': 'm1',
                'model_b': 'm2',
                'winner': 'model_a',
                'conversation_a': _said(_A),
                'conversation_b': _said(_B),
            },
        ),
        Layout(
            'mt_bench_answers',
            'FastChat: model_answer/*.jsonl, the first turn; the questions are in question.jsonl (--prompts)',
            Columns(generation='choices[0].turns[0]', model_name='model_id', instruction_id='question_id'),
            {'question_id': 'text|number', 'model_id': _TEXT, 'choices[].turns': 'texts|lists'},
            prompts=Prompts('question_id', 'turns[0]'),
            example={'question_id': 81, 'model_id': 'm1', 'choices': [{'index': 0, 'turns': [_A, 'Bye!']}]},
        ),
        Layout(
            'alpaca_eval',
            'AlpacaEval: model_outputs.json',
            Columns(generation='output', model_name='generator'),
            {'instruction': _TEXT, 'output': _TEXT, 'generator': _TEXT},
            example={'instruction': _Q, 'output': _A, 'generator': 'm1'},
        ),
        Layout(
            'alpaca_eval_annotations',
            'AlpacaEval: annotations.json, from 1 (the first is better) to 2',
            Columns(
                generation=['output_1', 'output_2'],
                model_name=['generator_1', 'generator_2'],
                rating=['preference', 'preference'],
                agent='annotator',
                scale=(Scale((2, 1)), Scale((1, 2))),
            ),
            {'instruction': _TEXT, 'output_1': _TEXT, 'output_2': _TEXT},
            repeated=True,
            example={
                'instruction': _Q,
                'output_1': _A,
                'generator_1': 'm1',
                'output_2': _B,
                'generator_2': 'm2',
                'preference': 1.0,
            },
        ),
        Layout(
            'nectar',
            'berkeley-nest/Nectar: ranks from 1 (the best) to 7',
            Columns(
                'prompt',
                'answers[].answer',
                model_name='answers[].model',
                rating='answers[].rank',
                agent=Literal('gpt-4'),
                scale=Scale((7, 1)),
                spoken=True,
            ),
            {'prompt': _TEXT, 'answers[].answer': 'texts', 'answers[].rank': 'numbers'},
            example={
                'prompt': f'\n\nHuman: {_Q}\n\nAssistant: ',
                'answers': [{'answer': _A, 'model': 'm1', 'rank': 1.0}, {'answer': _B, 'model': 'm2', 'rank': 7.0}],
            },
        ),
        Layout(
            'oasst',
            'OpenAssistant/oasst1 and oasst2: messages that name the one that they answer, and their rank',
            Columns('message_id', 'text', instruction_id='message_tree_id', rating='rank'),
            dict.fromkeys(('message_id', 'parent_id', 'message_tree_id', 'text', 'role'), _TEXT),
            parents=Parents(),
            example={
                'message_id': 'm2',
                'parent_id': 'm1',
                'message_tree_id': 'm1',
                'text': _A,
                'role': 'assistant',
                'rank': 0,
            },
        ),
        Layout(
            'oasst_trees',
            'OpenAssistant: whole trees of messages, with their replies in them',
            Columns('prompt.message_id', 'prompt.text', instruction_id='message_tree_id', rating='prompt.rank'),
            {'message_tree_id': _TEXT, 'prompt.message_id': _TEXT, 'prompt.text': _TEXT, 'prompt.role': _TEXT},
            parents=Parents(tree='prompt'),
            example={
                'message_tree_id': 'm1',
                'prompt': {
                    'message_id': 'm1',
                    'text': _Q,
                    'role': 'prompter',
                    'replies': [{'message_id': 'm2', 'text': _A, 'role': 'assistant', 'rank': 0}],
                },
            },
        ),
        Layout(
            'sharegpt',
            'ShareGPT and LLaMA-Factory',
            Columns('conversations', 'conversations'),
            {'conversations': _CHAT},
            ('chosen', 'rejected', 'generation', 'generations'),
            example={'conversations': [{'from': 'human', 'value': _Q}, {'from': 'gpt', 'value': _A}]},
        ),
        Layout(
            'conversation',
            'lmsys/lmsys-chat-1m, allenai/WildChat',
            Columns('conversation', 'conversation', model_name='model'),
            {'conversation': _CHAT},
            ('chosen', 'rejected', 'generation', 'generations'),
            example={'model': 'm1', 'conversation': _said(_A)},
        ),
        Layout(
            'messages',
            "OpenAI's fine-tuning and TRL's language modeling format",
            Columns('messages', 'messages'),
            {'messages': _CHAT},
            ('chosen', 'rejected', 'completion', 'prompt', 'instruction', 'generation', 'generations', 'label'),
            example={'messages': _said(_A)},
        ),
        Layout(
            'alpaca',
            'Alpaca: tatsu-lab/alpaca, yahma/alpaca-cleaned',
            Columns(['instruction', 'input'], 'output'),
            {'instruction': _TEXT, 'input': _TEXT, 'output': _TEXT},
            ('generator', 'chosen', 'rejected', 'generation', 'generations'),
            example={'instruction': _Q, 'input': '', 'output': _A},
        ),
        Layout(
            'llamafactory_preference',
            'LLaMA-Factory: preference data in ShareGPT form',
            Columns('conversations', ['chosen', 'rejected']),
            {'conversations': _CHAT, 'chosen': _CHAT, 'rejected': _CHAT},
            example={
                'conversations': [{'from': 'human', 'value': _Q}],
                'chosen': {'from': 'gpt', 'value': _A},
                'rejected': {'from': 'gpt', 'value': _B},
            },
        ),
        Layout(
            'llamafactory_alpaca_preference',
            'LLaMA-Factory: preference data in Alpaca form',
            Columns(['instruction', 'input'], ['chosen', 'rejected']),
            {'instruction': _TEXT, 'input': _TEXT, 'chosen': _TEXT, 'rejected': _TEXT},
            example={'instruction': _Q, 'input': '', 'chosen': _A, 'rejected': _B},
        ),
        Layout(
            'trl',
            "TRL's preference format with explicit prompts: texts or messages",
            _PAIR,
            {'prompt': _EITHER, 'chosen': _EITHER, 'rejected': _EITHER},
            example={'prompt': _Q, 'chosen': _A, 'rejected': _B},
        ),
        Layout(
            'trl_implicit',
            "TRL's preference format with implicit prompts: messages (or, as hh_rlhf, texts)",
            _IMPLICIT_PAIR,
            {'chosen': _CHAT, 'rejected': _CHAT},
            _PROMPTS,
            example={'chosen': _said(_A), 'rejected': _said(_B)},
        ),
        Layout(
            'kto',
            "TRL's unpaired preference format (KTO)",
            Columns('prompt', 'completion', rating='label', scale=Scale({'false': 0, 'true': 1})),
            {'prompt': _EITHER, 'completion': _EITHER, 'label': 'truth'},
            example={'prompt': _Q, 'completion': _A, 'label': True},
        ),
        Layout(
            'prompt_completion',
            "TRL's prompt-completion format",
            Columns('prompt', 'completion'),
            {'prompt': _EITHER, 'completion': _EITHER},
            example={'prompt': _Q, 'completion': _A},
        ),
        Layout(
            'orca_dpo',
            'Intel/orca_dpo_pairs',
            Columns(['system', 'question'], ['chosen', 'rejected']),
            {'system': _TEXT, 'question': _TEXT, 'chosen': _TEXT, 'rejected': _TEXT},
            example={'system': '', 'question': _Q, 'chosen': _A, 'rejected': _B},
        ),
        Layout(
            'vllm',
            'vLLM: the request outputs of LLM.generate, as dicts',
            Columns('prompt', 'outputs[].text'),
            {'prompt': _TEXT, 'outputs[].text': 'texts'},
            example={'request_id': '1', 'prompt': _Q, 'outputs': [{'index': 0, 'text': _A}, {'index': 1, 'text': _B}]},
        ),
        Layout(
            'openai_batch',
            "OpenAI's batch output; the prompts are in its input file (--prompts)",
            Columns(
                generation='response.body.choices[].message.content',
                model_name='response.body.model',
                instruction_id='custom_id',
            ),
            {'custom_id': _TEXT, 'response.body.choices[].message': 'conversation|structs'},
            prompts=Prompts('custom_id', 'body.messages'),
            example={
                'custom_id': 'p1',
                'response': {'body': {'model': 'm1', 'choices': [{'message': {'role': 'assistant', 'content': _A}}]}},
            },
        ),
        Layout(
            'argilla_export',
            'Argilla: records of a preference dataset, as to_datasets() of its SDK writes them',
            Columns(
                generation='generations-{i}',
                instruction_id='id',
                model_name='generations-{i}-model',
                rating='generations-{i}-rating.suggestion',
                rationale='generations-{i}-rationale.suggestion',
                agent='generations-{i}-rating.suggestion.agent',
            ),
            {'instruction': _TEXT, 'generations-{i}': _TEXT},
            example={'id': 'p1', 'instruction': _Q, 'generations-0': _A, 'generations-0-rating.suggestion': 5},
        ),
        Layout(
            'label_studio',
            "Label Studio's JSON export of pairwise comparisons",
            Columns(
                'data.prompt',
                ['data.answer1', 'data.answer2'],
                rating=['annotations[0].result[0].value.selected', 'annotations[0].result[0].value.selected'],
                scale=(Scale({'left': 1, 'right': 0}), Scale({'left': 0, 'right': 1})),
            ),
            {'data.prompt': _TEXT, 'data.answer1': _TEXT, 'data.answer2': _TEXT},
            example={
                'data': {'prompt': _Q, 'answer1': _A, 'answer2': _B},
                'annotations': [{'result': [{'type': 'pairwise', 'value': {'selected': 'left'}}]}],
            },
        ),
    )
}


def layout_of(name: str) -> Layout:
    """The layout of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in LAYOUTS:
        raise ValueError(f'layout={name!r}: use {AUTO!r} or one of {", ".join(map(repr, LAYOUTS))}')
    return LAYOUTS[name]


def columns_for(schemas: Sequence[pa.Schema], columns: Columns, layout: str) -> tuple[Columns, Layout | None]:
    """What columns mean in files of these schemas, and of which layout they are, if that counts.

    Args:
        columns: what is named goes before what the layout says.
        layout: the name of one; or ``auto``: the one that fits, if nothing is named and the usual names are not there.

    Raises:
        InputError: several fit.
    """
    if layout != AUTO:
        return _columns_of(layout_of(layout), columns)
    usual = all(not missing_columns(schema.names, columns) for schema in schemas)
    if usual or not columns.names_nothing():
        return columns, None
    fit = [layout for layout in fitting(schemas[0]) if all(layout in fitting(schema) for schema in schemas[1:])]
    if len(fit) > 1:
        names = ' or '.join(repr(layout.name) for layout in fit)
        raise InputError(f'The input may be of layout {names}: say which (layout=..., --layout).')
    return _columns_of(fit[0], columns) if fit else (columns, None)


def _columns_of(layout: Layout, columns: Columns) -> tuple[Columns, Layout]:
    columns = replace(columns.over(layout.columns), lenient=True)
    return columns if layout.prompts is None else with_key(columns, layout.prompts.key), layout


def with_key(columns: Columns, key: str) -> Columns:
    """The columns of generations whose prompts are elsewhere: until they are joined, their key is the id.

    Raises:
        InputError: another column is named for the id.
    """
    if columns.instruction_id not in (None, key):
        raise InputError(
            f'The instruction id is column {columns.instruction_id!r}, but prompts are found by {key!r}: leave it out, '
            'then generations with the same instruction belong together, or name that one.'
        )
    return replace(columns, instruction=Literal('(its prompt is joined later)'), instruction_id=key)


def fitting(schema: pa.Schema) -> list[Layout]:
    """The layouts that a schema may be of; of two of which one asks for more, that one alone."""
    fit = [layout for layout in LAYOUTS.values() if _fits(layout, schema)]
    return [one for one in fit if not any(one.needs.keys() < other.needs.keys() for other in fit)]


def _fits(layout: Layout, schema: pa.Schema) -> bool:
    if any(name in schema.names for name in layout.lacks):
        return False
    return all(_kind(schema, path) in kinds.split('|') for path, kinds in layout.needs.items())


def _kind(schema: pa.Schema, source: str) -> str | None:
    """What there is at the end of a path; None if there is none."""
    end = type_at(schema, next(iter(numbered(source, schema.names).values()), source))
    return None if end is None else _kind_of(end)


def _kind_of(kind: pa.DataType) -> str:
    types = pa.types
    if chat.is_chat_type(kind):
        return _CHAT
    if types.is_large_list(kind):
        return f'{_kind_of(plain_type(kind.value_type))}s'
    if types.is_large_string(kind) or types.is_large_binary(kind):
        return _TEXT
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return 'number'
    if types.is_boolean(kind):
        return 'truth'
    if types.is_temporal(kind):
        return 'time'
    return 'null' if types.is_null(kind) else 'struct'
