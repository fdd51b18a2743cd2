// `lethe serve` as a program: who may reach it, and how it ends. What it answers is tested in
// tests/serve and tests/e2e.
#include <gmock/gmock.h>

#include <csignal>

#include "apps/running_program.h"
#include "apps/scripted_program.h"
#include "serve/http_client.h"

namespace lethe::testing {
namespace {

using ::testing::HasSubstr;

/// A server on a free port, once it says that it serves.
class ServingProgram {
 public:
  explicit ServingProgram(const RunningProgram::Environment& environment = {})
      : program_(RunningProgram::Io::pipes,
                 {"serve", "-m", scripted_model(), "--port", "0", "--threads", "1"}, environment) {
    program_.read_until("http://127.0.0.1:");
    port_ = static_cast<uint16_t>(std::stoi(program_.read_until("/v1")));
  }
  RunningProgram& program() { return program_; }
  uint16_t port() const { return port_; }

 private:
  RunningProgram program_;
  uint16_t port_ = 0;
};

TEST(Serve, OtherMachinesNeedAKey) {
  for (const char* host : {"0.0.0.0", "::", "192.0.2.1", "127.0.0.1.example.org"}) {
    const ProgramResult result =
        run_lethe("serve --port 0 --host " + std::string(host) + " 2>&1", "LETHE_API_KEY= ");
    EXPECT_EQ(result.exit_code, 2) << host;
    EXPECT_THAT(result.output, HasSubstr("--api-key")) << host;
  }
}

TEST(Serve, TheKeyMayComeFromTheEnvironment) {
  const RunningProgram::Environment environment = {{"LETHE_API_KEY", "secret"}};
  ServingProgram server(environment);
  HttpClient client(server.port());
  client.request("GET", "/v1/models");
  EXPECT_EQ(client.read_response().status, 401);
  HttpClient with_key(server.port());
  with_key.request("GET", "/v1/models", "", {{"Authorization", "Bearer secret"}});
  EXPECT_EQ(with_key.read_response().status, 200);
}

TEST(Serve, EndsOnASignalOnceItsAnswersAreOut) {
  for (const int signal : {SIGTERM, SIGINT}) {
    ServingProgram server;
    HttpClient client(server.port());
    client.request("POST", "/v1/chat/completions",
                   R"({"stream":true,"ignore_eos":true,"max_tokens":400,)"
                   R"("messages":[{"role":"user","content":"Hi"}]})");
    EXPECT_EQ(client.read_head().status, 200);
    ASSERT_TRUE(client.read_event());
    server.program().signal(signal);
    std::string last;
    while (const auto event = client.read_event()) last = *event;
    EXPECT_EQ(last, "data: [DONE]");
    EXPECT_EQ(server.program().wait(), 0);
  }
}

TEST(Serve, SaysThatAPortIsTaken) {
  ServingProgram server;
  const ProgramResult result = run_lethe("serve -m " + scripted_model() + " --port " +
                                         std::to_string(server.port()) + " 2>&1");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr(std::to_string(server.port())));
}

}  // namespace
}  // namespace lethe::testing
