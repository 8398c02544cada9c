"""Mistral. Source: https://docs.mistral.ai/api"""

from metrion.providers.provider import Api, Credential, Family, Provider, rule

MISTRAL = Provider(
    name="mistral",
    label="Mistral",
    origin="https://api.mistral.ai",
    api=Api(
        prefix="/v1/",
        family=Family.OPENAI,
        credential=Credential.BEARER,
        rules=(
            rule("POST", r"/v1/chat/completions", "chat.completions", "openai_chat", required=("model", "messages")),
            rule("POST", r"/v1/fim/completions", "fim.completions", "openai_chat", body=True),
            rule("POST", r"/v1/agents/completions", "agents.completions", "openai_chat", body=True),
            rule("POST", r"/v1/embeddings", "embeddings", "openai_embeddings", body=True),
            rule("POST", r"/v1/(chat/)?moderations", "moderations", "openai_embeddings", body=True),
            rule("POST", r"/v1/(chat/)?classifications", "classifications", "openai_embeddings", body=True),
            rule("POST", r"/v1/responses", "responses", "openai_responses", required=()),
            rule("POST", r"/v1/responses/input_tokens", "responses.input_tokens", "count_only", body=True),
            rule("POST", r"/v1/ocr", "ocr", "mistral_ocr", body=True),
            rule("POST", r"/v1/audio/transcriptions", "audio.transcriptions", "openai_audio"),
            rule("POST", r"/v1/audio/speech", "audio.speech", "openai_audio", speaks=True),
            rule("POST", r"/v1/conversations(/[^/]+(/restart)?)?", "conversations", "mistral_conversations", body=True),
            rule("GET", r"/v1/batch/jobs/[^/]+", "batch.jobs.retrieve", "mistral_batch"),
            rule("GET", r"/v1/files/[^/]+/content", "files.content", "openai_batch_results"),
        ),
    ),
)
