"""OpenAI. Source: https://platform.openai.com/docs/api-reference"""

from metrion.providers.provider import Api, Credential, Family, Provider, rule

OPENAI = Provider(
    name="openai",
    label="OpenAI",
    origin="https://api.openai.com",
    api=Api(
        prefix="/v1/",
        family=Family.OPENAI,
        credential=Credential.BEARER,
        rules=(
            rule("POST", r"/v1/chat/completions", "chat.completions", "openai_chat", required=("model", "messages")),
            rule("POST", r"/v1/responses", "responses", "openai_responses", required=()),
            rule("GET", r"/v1/responses/[^/]+", "responses.retrieve", "openai_responses"),
            rule("POST", r"/v1/responses/[^/]+/cancel", "responses.cancel", "openai_responses"),
            rule("POST", r"/v1/decisions", "decisions", "openai_responses", body=True),
            rule("POST", r"/v1/responses/compact", "responses.compact", "openai_responses", body=True),
            rule("POST", r"/v1/responses/input_tokens", "responses.input_tokens", "count_only", body=True),
            rule("POST", r"/v1/completions", "completions", "openai_completions", body=True),
            rule("POST", r"/v1/embeddings", "embeddings", "openai_embeddings", body=True),
            rule("POST", r"/v1/moderations", "moderations", "count_only", body=True),
            rule("POST", r"/v1/images/generations", "images.generations", "openai_images", body=True),
            rule("POST", r"/v1/images/(edits|variations)", "images.edits", "openai_images"),
            rule("POST", r"/v1/audio/transcriptions", "audio.transcriptions", "openai_audio"),
            rule("POST", r"/v1/audio/translations", "audio.translations", "openai_audio"),
            rule("POST", r"/v1/audio/speech", "audio.speech", "openai_audio", speaks=True),
            rule("POST", r"/v1/threads/(runs|[^/]+/runs)", "threads.runs", "openai_runs"),
            rule("POST", r"/v1/threads/[^/]+/runs/[^/]+/submit_tool_outputs", "threads.runs", "openai_runs"),
            rule("GET", r"/v1/threads/[^/]+/runs/[^/]+", "threads.runs.retrieve", "openai_runs"),
            rule("GET", r"/v1/files/[^/]+/content", "files.content", "openai_batch_results"),
        ),
    ),
)
