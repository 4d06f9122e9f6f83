// How models and hubs elsewhere are asked.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include "readback/base/options.h"

namespace readback::wire {

struct WireOptions {
  int64_t requests_at_once = 4;
  double requests_per_second = 0;
  int64_t max_retries = 8;
  double retry_delay = 0.5;
  double connect_timeout = 10, idle_timeout = 60, request_timeout = 600;
  std::optional<int64_t> max_requests;
  std::optional<double> max_cost;
  double caption_price = 0, picture_price = 0;
  std::string api_key_variable;
  bool reuse_answers = true;

  static constexpr auto options() {
    using O = WireOptions;
    constexpr Scope kHow = Scope::kExecution;
    return std::tuple(
        option(&O::requests_at_once, "requests_at_once", "Requests on their way at a time", at_least(1), kHow),
        option(&O::requests_per_second, "requests_per_second", "Requests begun a second; 0: no limit", at_least(0),
               kHow),
        option(&O::max_retries, "max_retries", "How often a request is sent again that had no whole answer",
               at_least(0), kHow),
        option(&O::retry_delay, "retry_delay",
               "Seconds before the first of these, twice as many before each next; what the server asks for counts "
               "more",
               at_least(0), kHow),
        option(&O::connect_timeout, "connect_timeout", "Seconds until a server must have taken the connection",
               more_than(0), kHow),
        option(&O::idle_timeout, "idle_timeout", "Seconds that an answer that has begun may stand still", more_than(0),
               kHow),
        option(&O::request_timeout, "request_timeout", "Seconds until an answer must be whole", more_than(0), kHow),
        option(&O::max_requests, "max_requests", "End before more requests than this, repeated ones counted",
               at_least(0), kHow),
        option(&O::max_cost, "max_cost", "End before more than this is spent, in the unit of the prices", at_least(0),
               kHow),
        option(&O::caption_price, "caption_price", "What a caption costs", at_least(0), kHow),
        option(&O::picture_price, "picture_price", "What a picture costs", at_least(0), kHow),
        option(&O::api_key_variable, "api_key_variable",
               "Environment variable that holds the key; none: OPENAI_API_KEY, sent to https: alone", {}, kHow),
        option(&O::reuse_answers, "reuse_answers", "Take answers that came before from the cache", kHow));
  }
};

}  // namespace readback::wire
