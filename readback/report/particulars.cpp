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
