"""Responses of a cascade server."""

import json

from serve_app.cli.asking.text import Body

# Recorded, with numbers rounded: the first three from the quickstart, the others from the same API over replay models.
ACCEPTED: Body = json.loads(r"""
{"id": "chatcmpl-172e51bbe4a94cbd93caaeeea54d6578", "object": "chat.completion", "created": 1795312539,
"model": "default", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
"message": {"role": "assistant", "content": "The capital of France is Paris.", "refusal": null}}],
"usage": {"prompt_tokens": 83, "completion_tokens": 16, "total_tokens": 99}, "cascade": {"id": "default",
"deferred": false, "answered_by": "qwen-0.5b", "reason": "agreement", "tiers": [{"models": ["qwen-0.5b",
"smollm2-135m"], "signal": "sbert", "similarities": [[1.0, 1.0], [1.0, 1.0]], "output_scores": [1.0, 1.0],
"agreement": 1.0, "threshold": 0.8, "accepted": true, "reason": "agreement", "selected": "qwen-0.5b",
"answers": ["The capital of France is Paris.", "The capital of France is Paris."]}],
"models": {"qwen-0.5b": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 41, "completion_tokens": 8,
"latency_s": 1.76, "first_token_s": 1.001}, "smollm2-135m": {"status": "ok", "finish_reason": "stop",
"prompt_tokens": 42, "completion_tokens": 8, "latency_s": 0.6041, "first_token_s": 0.415}},
"cost": {"flops": 62320000000.0, "usd": 0.0, "device_s": 2.376, "target_only": {"flops": 150900000000.0, "usd": 0.0,
"device_s": 19.43, "estimated": true}}, "timings_s": {"tiers": [1.796], "scoring": 0.02054, "total": 1.796}}}
""")
DEFERRED: Body = json.loads(r"""
{"id": "chatcmpl-9aadef6144b54e11af5fcf9556bdceb1", "object": "chat.completion", "created": 1795312539,
"model": "default", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
"message": {"role": "assistant", "content": "1. Building walls\n2. Creating floors\n3. Constructing foundations",
"refusal": null}}], "usage": {"prompt_tokens": 124, "completion_tokens": 118, "total_tokens": 242},
"cascade": {"id": "default", "deferred": true, "answered_by": "qwen-1.5b", "reason": "disagreement",
"tiers": [{"models": ["qwen-0.5b", "smollm2-135m"], "signal": "sbert", "similarities": [[1.0, 0.3986], [0.3986, 1.0]],
"output_scores": [0.3986, 0.3986], "agreement": 0.3986, "threshold": 0.95, "accepted": false,
"reason": "disagreement", "selected": "qwen-0.5b",
"answers": ["1. To build a wall\n2. To build a house\n3. To build a castle",
"1. A building's foundation: A brick is a building's foundation."]}, {"models": ["qwen-1.5b"],
"answers": ["1. Building walls\n2. Creating floors\n3. Constructing foundations"]}],
"models": {"qwen-0.5b": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 41, "completion_tokens": 21,
"latency_s": 2.535, "first_token_s": 0.7829}, "smollm2-135m": {"status": "ok", "finish_reason": "stop",
"prompt_tokens": 42, "completion_tokens": 81, "latency_s": 1.282, "first_token_s": 0.3154},
"qwen-1.5b": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 41, "completion_tokens": 16,
"latency_s": 13.49, "first_token_s": 1.734}}, "cost": {"flops": 275000000000.0, "usd": 0.0, "device_s": 17.46,
"target_only": {"flops": 175600000000.0, "usd": 0.0, "device_s": 13.49, "estimated": false}},
"timings_s": {"tiers": [2.704, 13.5], "scoring": 0.1615, "total": 16.21}}}
""")
SINGLE: Body = json.loads(r"""
{"id": "chatcmpl-a013169a3c2147ac80f815323596d4aa", "object": "chat.completion", "created": 1795312539,
"model": "qwen-0.5b", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
"message": {"role": "assistant", "content": "The capital of France is Paris.", "refusal": null}}],
"usage": {"prompt_tokens": 36, "completion_tokens": 8, "total_tokens": 44}, "cascade": {"id": "qwen-0.5b",
"deferred": false, "answered_by": "qwen-0.5b", "reason": "last_tier", "tiers": [{"models": ["qwen-0.5b"],
"answers": ["The capital of France is Paris."]}], "models": {"qwen-0.5b": {"status": "ok", "finish_reason": "stop",
"prompt_tokens": 36, "completion_tokens": 8, "latency_s": 1.649, "first_token_s": 1.02}},
"cost": {"flops": 43470000000.0, "usd": 0.0, "device_s": 1.649, "target_only": {"flops": 43470000000.0, "usd": 0.0,
"device_s": 1.649, "estimated": false}}, "timings_s": {"tiers": [1.657], "scoring": 0.0, "total": 1.657}}}
""")
WOBBLY: Body = json.loads(r"""
{"id": "chatcmpl-26d1a44d13fc4e78b763193e3753a459", "object": "chat.completion", "created": 1795312539,
"model": "wobbly", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
"message": {"role": "assistant", "content": "Paris is the capital of France.", "refusal": null}}],
"usage": {"prompt_tokens": 18, "completion_tokens": 18, "total_tokens": 36}, "cascade": {"id": "wobbly",
"deferred": false, "answered_by": "small-a", "reason": "agreement", "tiers": [{"models": ["small-a", "broken",
"small-b"], "signal": "rougeL", "similarities": [[1.0, null, 0.4], [null, null, null], [0.4, null, 1.0]],
"output_scores": [0.4, null, 0.4], "agreement": 0.4, "threshold": 0.3, "accepted": true, "reason": "agreement",
"selected": "small-a", "answers": ["Paris is the capital of France.", null,
"The capital is Paris, on the Seine, [bold]the[/bold] largest city of France."]}],
"models": {"small-a": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6, "completion_tokens": 6,
"latency_s": 0.2697, "first_token_s": 0.1009}, "broken": {"status": "error",
"message": "The engine stopped: out of memory.", "prompt_tokens": 6, "completion_tokens": 0, "latency_s": 2.835e-05},
"small-b": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6, "completion_tokens": 12, "latency_s": 0.1696,
"first_token_s": 0.05021}}, "cost": {"flops": 28860000000.0, "usd": 0.0, "device_s": 0.4394,
"target_only": {"flops": 168000000000.0, "usd": 0.0, "device_s": 0.3654, "estimated": true}},
"timings_s": {"tiers": [0.2704], "scoring": 0.0004686, "total": 0.2705}}}
""")
THREE: Body = json.loads(r"""
{"id": "chatcmpl-752bc06e9bfe4c79b62d192572221ca3", "object": "chat.completion", "created": 1795312539,
"model": "three", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null, "message": {"role": "assistant",
"content": "Paris is the capital and largest city of France.\n\nIt lies on the Seine.", "refusal": null}}],
"usage": {"prompt_tokens": 36, "completion_tokens": 45, "total_tokens": 81}, "cascade": {"id": "three",
"deferred": true, "answered_by": "large", "reason": "disagreement", "tiers": [{"models": ["small-a", "small-b",
"small-c"], "signal": "rougeL", "similarities": [[1.0, 0.4, 0.0], [0.4, 1.0, 0.0], [0.0, 0.0, 1.0]],
"output_scores": [0.2, 0.2, 0.0], "agreement": 0.2, "threshold": 0.8, "accepted": false, "reason": "disagreement",
"selected": "small-a", "answers": ["Paris is the capital of France.",
"The capital is Paris, on the Seine, [bold]the[/bold] largest city of France.", "Lyon."]}, {"models": ["mid-a",
"mid-b"], "signal": "bleu", "similarities": [[1.0, 0.07889], [0.09288, 1.0]], "output_scores": [0.08588, 0.08588],
"agreement": 0.08588, "threshold": 0.8, "accepted": false, "reason": "disagreement", "selected": "mid-a",
"answers": ["It is Paris.", "The capital of France is the city of Paris."]}, {"models": ["large"],
"answers": ["Paris is the capital and largest city of France.\n\nIt lies on the Seine."]}],
"models": {"small-a": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6, "completion_tokens": 6,
"latency_s": 0.2525, "first_token_s": 0.1018}, "small-b": {"status": "ok", "finish_reason": "stop",
"prompt_tokens": 6, "completion_tokens": 12, "latency_s": 0.1625, "first_token_s": 0.05024},
"small-c": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6, "completion_tokens": 1,
"latency_s": 1.521e-05, "first_token_s": 1.121e-06}, "mid-a": {"status": "ok", "finish_reason": "stop",
"prompt_tokens": 6, "completion_tokens": 3, "latency_s": 0.0446, "first_token_s": 2.414e-06},
"mid-b": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6, "completion_tokens": 9, "latency_s": 0.1801,
"first_token_s": 1.262e-06}, "large": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6,
"completion_tokens": 14, "latency_s": 0.8515, "first_token_s": 0.2003}}, "cost": {"flops": 379900000000.0, "usd": 0.0,
"device_s": 1.492, "target_only": {"flops": 280000000000.0, "usd": 0.0, "device_s": 0.8515, "estimated": false}},
"timings_s": {"tiers": [0.2532, 0.1935, 0.8518], "scoring": 0.01353, "total": 1.299}}}
""")
