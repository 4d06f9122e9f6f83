#include "readback/base/options_difference.h"

#include <gtest/gtest.h>

namespace readback {
namespace {

TEST(OptionDifferences, NameWhatOneSideHasOtherwise) {
  const nlohmann::json before = {{"a", {{"b", 1}, {"c", "x"}}}, {"d", true}};
  EXPECT_TRUE(option_differences(before, before).empty());
  EXPECT_TRUE(option_differences({{"a", 0}, {"b", 1}}, {{"a", 0.0}, {"b", 1}}).empty());
  const auto found = option_differences(before, {{"a", {{"b", 2}, {"c", "x"}}}, {"e", nullptr}});
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].name + " " + found[0].before + " " + found[0].now, "a.b 1 2");
  EXPECT_EQ(found[1].name + " " + found[1].before + " " + found[1].now, "d true absent");
  EXPECT_EQ(found[2].name + " " + found[2].before + " " + found[2].now, "e absent null");
}

TEST(OptionDifferences, WhatIsAbsentHasItsDefaultAtAnyDepth) {
  const nlohmann::json defaults = {{"a", {{"new", 0}}}};
  EXPECT_TRUE(option_differences({{"a", {{"b", 1}}}}, {{"a", {{"b", 1}, {"new", 0}}}}, defaults).empty());
  EXPECT_EQ(option_differences({{"a", {{"b", 1}}}}, {{"a", {{"b", 1}, {"new", 2}}}}, defaults).size(), 1u);
}

TEST(OptionDifferences, EmptyListsAreNoNulls) {
  EXPECT_EQ(option_differences({{"a", nlohmann::json::array()}}, {{"a", nullptr}}).size(), 1u);
  EXPECT_TRUE(option_differences(nlohmann::json::object(), nlohmann::json::object()).empty());
}

}  // namespace
}  // namespace readback
