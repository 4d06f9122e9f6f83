#include "readback/base/options.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "readback/base/error.h"
#include "readback/base/options_json.h"

namespace readback {
namespace {

enum class Colour { kRed, kGreen };
constexpr std::array<const char*, 2> names_of(Colour) { return {"red", "green"}; }

struct Inner {
  std::optional<double> share;
  int64_t count = 3;
  static constexpr auto options() {
    return std::tuple(option(&Inner::share, "share", "A share", {0, 1}),
                      option(&Inner::count, "count", "How many", at_least(1), Scope::kCall));
  }
};

struct Outer {
  std::string name = "x";
  Inner inner;
  std::vector<Colour> colours = {Colour::kGreen};
  bool loud = false;
  uint64_t seed = 0;
  double rate = 1;
  static constexpr auto options() {
    using O = Outer;
    return std::tuple(option(&O::name, "name", "A name"), nested(&O::inner, "inner", "in_"),
                      option(&O::colours, "colours", "Some"), option(&O::loud, "loud", "", Scope::kExecution),
                      option(&O::seed, "seed", ""), option(&O::rate, "rate", "", more_than(0)));
  }
};

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "none";
}

TEST(Options, BecomeJsonAndComeBack) {
  Outer options;
  options.inner.share = 0.25;
  options.colours = {Colour::kRed, Colour::kGreen};
  options.seed = UINT64_MAX;
  const nlohmann::json json = options_to_json(options);
  EXPECT_EQ(json, (nlohmann::json{{"name", "x"},
                                  {"inner", {{"share", 0.25}, {"count", 3}}},
                                  {"colours", {"red", "green"}},
                                  {"loud", false},
                                  {"seed", UINT64_MAX},
                                  {"rate", 1.0}}));
  Outer back;
  options_from_json(json, back);
  EXPECT_EQ(options_to_json(back), json);
  options_from_json({{"inner", {{"share", nullptr}}}}, back);  // what is absent stays
  EXPECT_FALSE(back.inner.share);
  EXPECT_EQ(back.seed, UINT64_MAX);
}

TEST(Options, IdentityHasWhatDecidesResults) {
  EXPECT_EQ(options_identity(Outer()),
            (nlohmann::json{
                {"name", "x"}, {"inner", {{"share", nullptr}}}, {"colours", {"green"}}, {"seed", 0}, {"rate", 1.0}}));
}

TEST(Options, WrongJsonSaysWhere) {
  Outer options;
  const auto read = [&](const nlohmann::json& json) { return error_of([&] { options_from_json(json, options); }); };
  EXPECT_EQ(read({{"inner", {{"shore", 1}}}}), "options.inner: expected one of share, count, got \"shore\"");
  EXPECT_NE(read({{"seed", "many"}}).find("options.seed"), std::string::npos);
  EXPECT_NE(read({{"colours", {"blue"}}}).find("red or green"), std::string::npos);
  EXPECT_NE(read(nlohmann::json::array()).find("an object"), std::string::npos);
}

TEST(Options, NumbersOutOfRangeAreRefused) {
  const auto check = [](const std::function<void(Outer&)>& change) {
    Outer options;
    change(options);
    return error_of([&] { check_options(options); });
  };
  EXPECT_EQ(check([](Outer&) {}), "none");
  EXPECT_EQ(check([](Outer& o) { o.inner.share = 1.5; }), "in_share: expected 0 to 1, got 1.5");
  EXPECT_EQ(check([](Outer& o) { o.inner.count = 0; }), "in_count: expected 1 or more, got 0");
  EXPECT_EQ(check([](Outer& o) { o.rate = 0; }), "rate: expected more than 0, got 0");
  EXPECT_NE(check([](Outer& o) { o.rate = std::nan(""); }), "none");
  EXPECT_EQ(check([](Outer& o) { o.rate = INFINITY; }), "rate: expected more than 0, got inf");
}

TEST(Options, RangesSayWhatTheyHold) {
  EXPECT_EQ(to_string({}), "a finite number");
  EXPECT_EQ(to_string({0, 1}), "0 to 1");
  EXPECT_EQ(to_string(at_least(2)), "2 or more");
  EXPECT_EQ(to_string({.most = 2}), "at most 2");
  EXPECT_EQ(to_string(share_below_one()), "0 or more, below 1");
  EXPECT_EQ(to_string({.least = 0, .most = 1, .above_least = true}), "more than 0, at most 1");
  EXPECT_TRUE(share_below_one().contains(0));
  EXPECT_FALSE(share_below_one().contains(1));
  EXPECT_FALSE(more_than(0).contains(0));
  EXPECT_TRUE((Range{0, 1}).contains(1));
  EXPECT_FALSE(Range{}.contains(INFINITY));
}

TEST(Options, WhatIsLeftOpenComesFromTheDefaults) {
  Outer defaults, asked;
  defaults.inner.share = 0.5;
  defaults.inner.count = 9;  // no optional: it is never open
  EXPECT_EQ(with_defaults(asked, defaults).inner.share, 0.5);
  EXPECT_EQ(with_defaults(asked, defaults).inner.count, 3);
  asked.inner.share = 0.1;
  EXPECT_EQ(with_defaults(asked, defaults).inner.share, 0.1);
}

}  // namespace
}  // namespace readback
