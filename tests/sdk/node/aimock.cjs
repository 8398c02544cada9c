// An independent fake (npm @copilotkit/aimock) for tests/sdk: prints its address, lives until its standard input ends.
// CommonJS, because aimock's ES modules name an export that Node 18's zlib does not have.
const { LLMock } = require("@copilotkit/aimock");

const usage = {
  prompt_tokens: 21,
  completion_tokens: 13,
  total_tokens: 34,
  input_tokens: 21,
  output_tokens: 13,
  promptTokenCount: 21,
  candidatesTokenCount: 13,
  totalTokenCount: 34,
};

async function main() {
  const mock = new LLMock({ port: 0 });
  mock.onMessage("hello", { content: "Hi there, from somebody else.", usage });
  await mock.start();
  console.log(mock.url);
  process.stdin.resume();
  process.stdin.on("end", async () => {
    await mock.stop();
    process.exit(0);
  });
}

main();
