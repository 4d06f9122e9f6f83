// Certificates are checked. The server is openssl's.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/wire/client.h"
#include "tests/wire_server.h"

namespace readback::wire {
namespace {

namespace fs = std::filesystem;

TEST(Tls, ACertificateThatNobodyVouchesForIsRefused) {
  if (std::system("openssl version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no openssl program";
  std::string name = (fs::temp_directory_path() / "readback-tls-XXXXXX").string();
  const fs::path folder = ::mkdtemp(name.data());
  ::setenv("READBACK_CACHE", folder.c_str(), 1);
  ASSERT_EQ(
      std::system(fmt::format("cd {} && openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -days 2 "
                              "-subj /CN=readback -addext subjectAltName=IP:127.0.0.1 2>/dev/null",
                              folder.string())
                      .c_str()),
      0);
  write_file(folder / "answer", "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"answer\":1}");
  std::string url;
  {
    url = WireServer([](const WireServer::Seen&) { return WireServer::Reply{}; }).url();
  }  // a port that is free
  const std::string port = url.substr(url.rfind(':') + 1);
  const pid_t server = ::fork();
  if (server == 0) {
    if (::chdir(folder.c_str()) != 0) ::_exit(1);
    ::freopen("/dev/null", "w", stdout);
    ::freopen("/dev/null", "w", stderr);
    ::execlp("openssl", "openssl", "s_server", "-accept", port.c_str(), "-cert", "certificate", "-key", "key", "-HTTP",
             nullptr);
    ::_exit(1);
  }
  WireOptions options;
  options.retry_delay = 0.1;
  const Endpoint endpoint = parse_endpoint("openai:https://127.0.0.1:" + port);
  const Call call{.path = "/answer"};
  std::string why;
  try {
    Client(endpoint, options).ask(std::span(&call, 1), {});
  } catch (const NetworkError& error) {
    why = error.what();
  }
  EXPECT_NE(why.find("a connection that is safe"), std::string::npos) << why;
  const char* const before = std::getenv("CURL_CA_BUNDLE");
  const std::string kept = before != nullptr ? before : "";
  ::setenv("CURL_CA_BUNDLE", (folder / "certificate").c_str(), 1);
  const auto results = Client(endpoint, options).ask(std::span(&call, 1), {});
  before != nullptr ? ::setenv("CURL_CA_BUNDLE", kept.c_str(), 1) : ::unsetenv("CURL_CA_BUNDLE");
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);
  ASSERT_TRUE(results[0]) << results[0].failure();
  EXPECT_EQ(results[0].value().body, "{\"answer\":1}");
  ::unsetenv("READBACK_CACHE");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace readback::wire
