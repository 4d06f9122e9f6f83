// Options that are declared once. A struct of options lists its fields in a static options(); from that list come its
// JSON (base/options_json.h), its checks, what makes two runs equal, the program's flags with their help, and a page's
// particulars.
//
//   struct Sampling {
//     std::optional<double> top_p;
//     int64_t count = 1;
//     static constexpr auto options() {
//       return std::tuple(option(&Sampling::top_p, "top_p", "Smallest set of tokens with this probability", {0, 1}),
//                         option(&Sampling::count, "count", "Candidates", at_least(1)));
//     }
//   };
//
// A field's initial value also stands for it in runs and trainings that were begun before the field existed, so it must
// stay as it is; a default that may change belongs into an optional and what resolves it. Flags of nested structs share
// one name space with those around them unless nested() gives a prefix.
// A field that options() forgets does not compile where the struct is used. A field may be a bool, int64_t, uint64_t,
// double, std::string, an enum with names (see names_of), an optional of these, a vector of strings or enums, or, by
// nested(), another struct of options.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "readback/base/error.h"

namespace readback {

// What an option decides.
enum class Scope {
  kResult,     // what comes out: two runs that differ in one are different runs, and a resume with another value is
               // refused
  kExecution,  // how the work goes
  kCall,       // one call of a model: a run sets it itself
};

// The numbers that an option may be, all of them finite.
struct Range {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool above_least = false;  // `least` itself is not allowed
  bool below_most = false;   // nor is `most`

  bool contains(double number) const;
};
constexpr Range at_least(double least) { return {.least = least}; }
constexpr Range more_than(double least) { return {.least = least, .above_least = true}; }
constexpr Range share_below_one() { return {.least = 0, .most = 1, .below_most = true}; }
std::string to_string(const Range& range);  // "0 to 1", "1 or more"

template <typename Owner, typename Value>
struct Option {
  Value Owner::*member;
  const char* name;  // in JSON; the flag is --name with '-' for '_'
  const char* help;
  Range range;
  Scope scope;
};

// Another struct of options: an object of its own in JSON, flags that begin with `prefix`.
template <typename Owner, typename Value>
struct Nested {
  Value Owner::*member;
  const char* name;
  const char* prefix;  // "reading_" makes --reading-num-beams
};

template <typename Owner, typename Value>
constexpr Option<Owner, Value> option(Value Owner::*member, const char* name, const char* help, Range range = {},
                                      Scope scope = Scope::kResult) {
  return {member, name, help, range, scope};
}
template <typename Owner, typename Value>
constexpr Option<Owner, Value> option(Value Owner::*member, const char* name, const char* help, Scope scope) {
  return {member, name, help, {}, scope};
}
template <typename Owner, typename Value>
constexpr Nested<Owner, Value> nested(Value Owner::*member, const char* name, const char* prefix = "") {
  return {member, name, prefix};
}

// The words of an enum's values, in their order. An enum that is an option has a function names_of(Enum), found beside
// it: constexpr std::array<const char*, 2> names_of(Direction) { return {"i2t2i", "t2i2t"}; }
template <typename Enum>
requires std::is_enum_v<Enum> std::string name_of(Enum value) { return names_of(Enum{})[static_cast<size_t>(value)]; }
// Errors: UsageError that lists the words.
template <typename Enum>
requires std::is_enum_v<Enum> Enum parse_enum(const std::string& option, const std::string& word) {
  std::string words;
  const auto names = names_of(Enum{});
  for (size_t i = 0; i < names.size(); ++i) {
    if (word == names[i]) return static_cast<Enum>(i);
    words += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + std::string(names[i]);
  }
  throw UsageError(describe(option, words, "\"" + word + "\""));
}

namespace options_detail {

template <typename Owner>
struct Anything {
  template <typename Value>
  requires(!std::is_same_v<std::remove_cvref_t<Value>, Owner>) operator Value() const noexcept {
    __builtin_unreachable();  // only asked whether it would be called
  }
};
template <typename Options, size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires { Options{(static_cast<void>(I), Anything<Options>())...}; };
}
template <typename Options, size_t count = 0>
constexpr size_t field_count() {
  if constexpr (takes<Options>(std::make_index_sequence<count + 1>())) {
    return field_count<Options, count + 1>();
  } else {
    return count;
  }
}

template <typename Value>
struct is_optional : std::false_type {};
template <typename Value>
struct is_optional<std::optional<Value>> : std::true_type {};
template <typename Value>
struct is_vector : std::false_type {};
template <typename Value>
struct is_vector<std::vector<Value>> : std::true_type {};

}  // namespace options_detail

template <typename Value>
inline constexpr bool is_optional_v = options_detail::is_optional<Value>::value;
template <typename Value>
inline constexpr bool is_vector_v = options_detail::is_vector<Value>::value;

// The declaration of `Options`, complete or an error of the compiler.
template <typename Options>
constexpr auto declared_options() {
  constexpr auto list = Options::options();
  static_assert(std::tuple_size_v<decltype(list)> == options_detail::field_count<Options>(),
                "options() must declare every field of the struct");
  return list;
}

// visit(declaration, value) for every field in the order of declaration; declaration is an Option or a Nested.
template <typename Options, typename Visit>
void for_each_field(Options& options, Visit&& visit) {
  std::apply([&](const auto&... field) { (visit(field, options.*(field.member)), ...); },
             declared_options<std::remove_const_t<Options>>());
}

template <typename Field>
inline constexpr bool is_nested_v = false;
template <typename Owner, typename Value>
inline constexpr bool is_nested_v<Nested<Owner, Value>> = true;

// The same for the options themselves, those of nested structs included. visit(option, value, path, flag):
// path "reading.num_beams" (JSON), flag "reading_num_beams".
template <typename Options, typename Visit>
void for_each_option(Options& options, Visit&& visit, const std::string& path = "", const std::string& prefix = "") {
  for_each_field(options, [&](const auto& field, auto& value) {
    if constexpr (is_nested_v<std::remove_cvref_t<decltype(field)>>) {
      for_each_option(value, visit, path + field.name + ".", prefix + field.prefix);
    } else {
      visit(field, value, path + field.name, prefix + field.name);
    }
  });
}

// Errors: UsageError that names the option, what it may be and what it is.
void expect_in(const Range& range, const std::string& name, double number);

// Errors: UsageError that names the option, what it may be and what it is.
template <typename Options>
void check_options(const Options& options) {
  for_each_option(options, [&](const auto& option, const auto& value, const std::string&, const std::string& name) {
    const auto check_number = [&](auto number) { expect_in(option.range, name, static_cast<double>(number)); };
    using Value = std::remove_cvref_t<decltype(value)>;
    if constexpr (is_optional_v<Value>) {
      if constexpr (std::is_arithmetic_v<typename Value::value_type>) {
        if (value) check_number(*value);
      }
    } else if constexpr (std::is_arithmetic_v<Value>) {
      check_number(value);
    }
  });
}

// `options` with what they leave open taken from `defaults`.
template <typename Options>
Options with_defaults(Options options, const Options& defaults) {
  for_each_field(options, [&](const auto& field, auto& value) {
    const auto& other = defaults.*(field.member);
    if constexpr (is_nested_v<std::remove_cvref_t<decltype(field)>>) {
      value = with_defaults(value, other);
    } else if constexpr (is_optional_v<std::remove_cvref_t<decltype(value)>>) {
      if (!value) value = other;
    }
  });
  return options;
}

}  // namespace readback
