"""A chat template like those of models that think, for a model that was never taught to."""

TEMPLATE = r"""{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\n' -}}
{%- if message.role == 'assistant' and message.reasoning_content -%}
{{- '<think>\n' + message.reasoning_content.strip('\n') + '\n</think>\n\n' -}}
{%- endif -%}
{{- message.content + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\n' -}}
{%- if enable_thinking is defined and enable_thinking is false -%}
{{- '<think>\n\n</think>\n\n' -}}
{%- else -%}
{{- OPENING -}}
{%- endif -%}
{%- endif -%}"""

OPENED = TEMPLATE.replace("OPENING", r"'<think>\n'")
"""Has written the opening mark."""
UNOPENED = TEMPLATE.replace("OPENING", "''")
"""Leaves it to the model."""
UNREADABLE = OPENED.replace("message.role == 'assistant' and message.reasoning_content", "false")
"""Has written it, but shows no thoughts of the history: llama.cpp's analysis does not see what it is for."""
