// An HTTP server in this process that misbehaves as it is told.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace readback {

class WireServer {
 public:
  struct Seen {
    std::string method, path, headers, body;  // headers: as they came
    int64_t index = 0;                        // 0: the first request
  };
  struct Reply {
    int status = 200;
    std::string body = {};
    std::vector<std::string> headers = {};  // "Name: value"
    int64_t cut_after = -1;                 // bytes of the body after which the connection is closed; -1: all come
    int64_t stand_still_after = -1;         // the same, but the connection stays open
    double delay = 0;                       // seconds before anything is answered
  };
  using Handler = std::function<Reply(const Seen&)>;

  explicit WireServer(Handler handler);  // on a free port of this machine
  ~WireServer();
  WireServer(const WireServer&) = delete;

  std::string url() const;  // "http://127.0.0.1:PORT"
  std::vector<Seen> seen() const;
  int64_t most_at_once() const { return most_at_once_; }

 private:
  void serve(int connection);

  Handler handler_;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> ending_ = false;
  std::atomic<int64_t> at_once_ = 0, most_at_once_ = 0;
  mutable std::mutex mutex_;
  std::vector<Seen> seen_;
  std::vector<std::thread> threads_;
  std::thread accepting_;
};

}  // namespace readback
