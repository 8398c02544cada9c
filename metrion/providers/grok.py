"""xAI's Grok. Source: https://docs.x.ai/docs/api-reference"""

from metrion.providers.provider import Api, Credential, Family, Provider, rule

GROK = Provider(
    name="grok",
    label="Grok",
    origin="https://api.x.ai",
    api=Api(
        prefix="/v1/",
        family=Family.OPENAI,
        credential=Credential.BEARER,
        rules=(
            rule("POST", r"/v1/chat/completions", "chat.completions", "openai_chat", required=("model", "messages")),
            rule("POST", r"/v1/responses", "responses", "openai_responses", required=()),
            rule("GET", r"/v1/responses/[^/]+", "responses.retrieve", "openai_responses"),
            rule("POST", r"/v1/responses/compact", "responses.compact", "openai_responses", body=True),
            rule("GET", r"/v1/chat/deferred-completion/[^/]+", "chat.deferred", "openai_chat"),
            rule("POST", r"/v1/completions", "completions", "openai_completions", body=True),
            rule("POST", r"/v1/messages", "messages", "anthropic_messages", body=True),
            rule("POST", r"/v1/embeddings", "embeddings", "openai_embeddings", body=True),
            rule("POST", r"/v1/images/generations", "images.generations", "openai_images", body=True),
            rule("POST", r"/v1/images/edits", "images.edits", "openai_images", body=True),
            rule("GET", r"/v1/batches/[^/]+/results", "batches.results", "xai_batch_results"),
            rule("GET", r"/v1/files/[^/]+/content", "files.content", "openai_batch_results"),
            rule("POST", r"/v1/tokenize-text", "tokenize", "count_only", body=True),
        ),
    ),
)
