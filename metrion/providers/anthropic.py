"""Anthropic. Source: https://docs.anthropic.com/en/api"""

from metrion.providers.provider import Api, Credential, Family, Provider, rule

ANTHROPIC = Provider(
    name="anthropic",
    label="Anthropic",
    origin="https://api.anthropic.com",
    api=Api(
        prefix="/v1/",
        family=Family.ANTHROPIC,
        credential=Credential.X_API_KEY,
        rules=(
            rule(
                "POST", r"/v1/messages", "messages", "anthropic_messages", required=("model", "messages", "max_tokens")
            ),
            rule("POST", r"/v1/messages/count_tokens", "messages.count_tokens", "count_only", body=True),
            rule("GET", r"/v1/messages/batches/[^/]+/results", "messages.batches.results", "anthropic_batch_results"),
            rule("POST", r"/v1/messages/batches", "messages.batches"),
            rule("GET", r"/v1/messages/batches(/[^/]+)?", "messages.batches"),
            rule("POST", r"/v1/complete", "complete", "anthropic_complete", body=True),
        ),
    ),
)
