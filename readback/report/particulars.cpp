#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "readback/report/page.h"

namespace readback::report {

using nlohmann::json;

namespace {

std::string plain(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump(-1, ' ', false, json::error_handler_t::replace);
  std::string text;
  for (const json& item : value) text += (text.empty() ? "" : ",") + plain(item);
  return text;
}

// Nested objects as dotted names.
void rows(const json& object, const std::string& prefix, Markup& result) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) {
      rows(value, prefix + key + ".", result);
    } else {
      const std::string text = plain(value);
      result += element("div", element("dt", prefix + key),
                        element("dd", text.empty() ? element("span.soft", "none") : Markup(text)));
    }
  }
}

Markup listing(const char* heading, const json& object) {
  Markup list;
  if (object.is_object()) rows(object, "", list);
  return list.empty() ? list : element("div.listing", element("h3", heading), element("dl", list));
}

std::string shell_quoted(const std::string& text) {
  constexpr std::string_view kSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,+=@%";
  if (!text.empty() && text.find_first_not_of(kSafe) == std::string::npos) return text;
  std::string quoted = "'";
  for (char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// The flags for what differs from the defaults, in one object of options.
std::string flags(const json& options, const json& defaults, std::initializer_list<const char*> names) {
  std::string text;
  for (const char* name : names) {
    if (!options.contains(name) || (defaults.contains(name) && defaults.at(name) == options.at(name))) continue;
    std::string flag = name;
    for (char& c : flag) c = c == '_' ? '-' : c;
    text += " --" + flag + " " + shell_quoted(plain(options.at(name)));
  }
  return text;
}

}  // namespace

std::string command(const ReportData& data) {
  const json& options = data.manifest.options;
  const json defaults = roundtrip::identity({});
  const auto part = [&](const char* name) { return options.contains(name) ? options.at(name) : json::object(); };
  return "readback run " + shell_quoted(plain(options.value("dataset", json("DATASET")))) +
         flags(options, defaults,
               {"split", "limit", "directions", "num_candidates", "captioner", "generator", "seed", "dtype"}) +
         flags(part("sampling"), defaults.at("sampling"),
               {"prompt", "max_length", "min_length", "repetition_penalty", "top_p", "top_k", "temperature"}) +
         flags(part("generation"), defaults.at("generation"),
               {"negative_prompt", "num_inference_steps", "guidance_scale", "scheduler", "height", "width"}) +
         " --output " + shell_quoted(data.folder);
}

Markup errors(const ReportData& data) {
  if (data.errors.empty()) return {};
  Markup rows;
  for (const roundtrip::ErrorRow& error : data.errors) {
    const std::string where = error.direction ? roundtrip::name(*error.direction) : "both";
    rows += element("tr", element("th", Attributes{{"scope", "row"}}, error.sample), element("td", where),
                    element("td", error.candidate < 0 ? "all" : std::to_string(error.candidate)),
                    element("td", error.stage), element("td.message", error.message));
  }
  Markup head;
  for (const char* name : {"Sample", "Direction", "Candidate", "Stage", "What happened"}) {
    head += element("th", Attributes{{"scope", "col"}}, name);
  }
  const Markup table =
      element("div.scroll", Attributes{{"tabindex", "0"}, {"role", "region"}, {"aria-label", "Errors"}},
              element("table.errors", element("thead", element("tr", head)), element("tbody", rows)));
  const Markup lead = "What failed was recorded and the run went on; the same command tries it again.";
  const bool many = data.errors.size() > 10;
  const std::string count = counted(static_cast<int64_t>(data.errors.size()), "error", "errors");
  return section("errors", count, lead, many ? element("details.more", element("summary", "Show them"), table) : table);
}

Markup particulars(const ReportData& data) {
  const roundtrip::Manifest& manifest = data.manifest;
  return element("footer", Attributes{{"id", "particulars"}, {"aria-labelledby", "particulars-title"}},
                 element("h2", Attributes{{"id", "particulars-title"}}, "How it was made"),
                 element("pre", Attributes{{"tabindex", "0"}}, element("code", command(data))),
                 element("div.listings", listing("About", manifest.about), listing("Digests", manifest.digests),
                         listing("Options", manifest.options)),
                 element("p.soft",
                         "This file holds everything it shows and asks nothing of the network. The run’s folder "
                         "has the rest: run.sqlite with every row, images/ with every picture."));
}

}  // namespace readback::report
