"""Google's Gemini: its own API, and the one that looks like OpenAI's. Source: https://ai.google.dev/api"""

from metrion.providers.provider import Api, Credential, Family, Provider, rule

_MODEL = r"/(?:upload/)?v1(?:alpha|beta)?/(?:models|tunedModels)/(?P<model>[^/:]+)"
_ANY = r"/v1(?:alpha|beta)?/"

GEMINI = Provider(
    name="gemini",
    label="Gemini",
    origin="https://generativelanguage.googleapis.com",
    api=Api(
        prefix="/v1beta/openai/",
        family=Family.OPENAI,
        credential=Credential.BEARER,
        rules=(
            rule(
                "POST",
                r"/v1beta/openai/chat/completions",
                "chat.completions",
                "openai_chat",
                required=("model", "messages"),
            ),
            rule("POST", r"/v1beta/openai/embeddings", "embeddings", "openai_embeddings", body=True),
            rule("POST", r"/v1beta/openai/images/generations", "images.generations", "openai_images", body=True),
        ),
    ),
    native=Api(
        prefix="/v1beta/",
        family=Family.GEMINI,
        credential=Credential.X_GOOG_API_KEY,
        rules=(
            rule("POST", _MODEL + r":generateContent", "generateContent", "gemini_generate", body=True),
            rule("POST", _MODEL + r":streamGenerateContent", "streamGenerateContent", "gemini_generate", body=True),
            rule("POST", _MODEL + r":embedContent", "embedContent", "gemini_embed", body=True),
            rule("POST", _MODEL + r":batchEmbedContents", "batchEmbedContents", "gemini_embed", body=True),
            rule("POST", _MODEL + r":countTokens", "countTokens", "count_only", body=True),
            rule("POST", _ANY + r"interactions", "interactions", "gemini_interactions", body=True),
            rule("GET", _ANY + r"interactions/[^/]+", "interactions.retrieve", "gemini_interactions"),
            rule("POST", _ANY + r"interactions/[^/]+/cancel", "interactions.cancel", "gemini_interactions"),
            rule("POST", _ANY + r"decisions", "decisions", "gemini_interactions", body=True),
            rule("GET", _ANY + r"batches/[^/:]+", "batches.retrieve", "gemini_batch"),
            rule("GET", r"(?:/download)?" + _ANY + r"files/[^/:]+:download", "files.download", "gemini_batch_results"),
        ),
    ),
)
