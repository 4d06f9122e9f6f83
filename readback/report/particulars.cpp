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

}  // namespace

Markup errors(const ReportData& data) {
  if (data.errors.empty()) return {};
  constexpr size_t kOpen = 10;
  Markup first, more;
  for (size_t i = 0; i < data.errors.size(); ++i) {
    const roundtrip::ErrorRow& error = data.errors[i];
    const std::string where = error.direction ? roundtrip::name(*error.direction) : "both";
    (i < kOpen ? first : more) +=
        element("tr", element("th", Attributes{{"scope", "row"}}, error.sample), element("td", where),
                element("td", error.candidate < 0 ? "all" : std::to_string(error.candidate)),
                element("td", error.stage), element("td.message", error.message));
  }
  Markup head;
  for (const char* name : {"Sample", "Direction", "Candidate", "Stage", "What happened"}) {
    head += element("th", Attributes{{"scope", "col"}}, name);
  }
  const auto table = [&](const Markup& rows) {
    return element("div.scroll", Attributes{{"tabindex", "0"}, {"role", "region"}, {"aria-label", "Errors"}},
                   element("table.errors", element("thead", element("tr", head)), element("tbody", rows)));
  };
  const std::string lead =
      fmt::format("{} of {} failed. What failed was recorded and the run went on; the same command tries it again.",
                  counted(data.failed_samples, "sample", "samples"), data.samples);
  if (!more.empty()) {
    more = element("details.more", element("summary", fmt::format("{} more", data.errors.size() - kOpen)), table(more));
  }
  return section("errors", counted(static_cast<int64_t>(data.errors.size()), "error", "errors"), lead,
                 table(first) + more);
}

Markup particulars(const ReportData& data) {
  const roundtrip::Manifest& manifest = data.manifest;
  const std::string command = text_of(manifest.about, "command", "");
  const json identity = {{"device", manifest.device}, {"results_version", manifest.results_version}};
  json about = manifest.about;
  if (about.is_object()) about.erase("notes");  // they stand with the figures
  return element("footer", Attributes{{"id", "particulars"}, {"aria-labelledby", "particulars-title"}},
                 element("h2", Attributes{{"id", "particulars-title"}}, "How it was made"),
                 command.empty() ? Markup() : element("pre", Attributes{{"tabindex", "0"}}, element("code", command)),
                 element("div.listings", listing("About", about), listing("Digests", manifest.digests),
                         listing("Identity", identity), listing("Options", manifest.options)),
                 element("p.soft",
                         "This file holds everything it shows and asks nothing of the network. The run’s folder "
                         "has the rest: run.sqlite with every row, images/ with every picture."));
}

}  // namespace readback::report
