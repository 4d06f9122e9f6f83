#include "tests/wire_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>

namespace readback {

namespace {

void send_all(int connection, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t count = ::send(connection, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (count <= 0) return;
    at += static_cast<size_t>(count);
  }
}

}  // namespace

WireServer::WireServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no server");
  }
  port_ = ntohs(address.sin_port);
  accepting_ = std::thread([this] {
    while (!ending_) {
      pollfd entry{listener_, POLLIN, 0};
      if (::poll(&entry, 1, 20) <= 0) continue;
      const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection >= 0) threads_.emplace_back([this, connection] { serve(connection); });
    }
  });
}

WireServer::~WireServer() {
  ending_ = true;
  accepting_.join();
  for (std::thread& thread : threads_) thread.join();
  ::close(listener_);
}

std::string WireServer::url() const { return "http://127.0.0.1:" + std::to_string(port_); }

std::vector<WireServer::Seen> WireServer::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

void WireServer::serve(int connection) {
  const int64_t now = ++at_once_;
  for (int64_t most = most_at_once_; now > most && !most_at_once_.compare_exchange_weak(most, now);) continue;
  std::string text;
  size_t head = std::string::npos, length = 0;
  const timeval patience{5, 0};
  ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  while (head == std::string::npos || text.size() < head + 4 + length) {
    char buffer[65536];
    const ssize_t count = ::recv(connection, buffer, sizeof buffer, 0);
    if (count <= 0) break;
    text.append(buffer, static_cast<size_t>(count));
    if (head != std::string::npos) continue;
    head = text.find("\r\n\r\n");
    const size_t field = text.find("Content-Length: ");
    if (head != std::string::npos && field < head) length = std::strtoul(text.c_str() + field + 16, nullptr, 10);
  }
  if (head != std::string::npos && text.size() >= head + 4 + length) {
    Seen seen;
    const size_t space = text.find(' '), next = text.find(' ', space + 1);
    seen.method = text.substr(0, space);
    seen.path = text.substr(space + 1, next - space - 1);
    seen.headers = text.substr(0, head);
    seen.body = text.substr(head + 4);
    {
      const std::lock_guard lock(mutex_);
      seen.index = static_cast<int64_t>(seen_.size());
      seen_.push_back(seen);
    }
    const Reply reply = handler_(seen);
    const auto wait = [&](double seconds) {
      const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
      while (!ending_ && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    };
    wait(reply.delay);
    std::string answer = "HTTP/1.1 " + std::to_string(reply.status) +
                         " Said\r\nConnection: close\r\nContent-Length: " + std::to_string(reply.body.size()) + "\r\n";
    for (const std::string& header : reply.headers) answer += header + "\r\n";
    answer += "\r\n";
    const int64_t stop = reply.stand_still_after >= 0 ? reply.stand_still_after : reply.cut_after;
    answer += stop >= 0 ? reply.body.substr(0, static_cast<size_t>(stop)) : seen.method == "HEAD" ? "" : reply.body;
    send_all(connection, answer);
    if (reply.stand_still_after >= 0) wait(30);
  }
  --at_once_;
  ::shutdown(connection, SHUT_RDWR);
  ::close(connection);
}

}  // namespace readback
