// What SPICE finds in a caption, by category of its tuples.
#pragma once
#include <array>
#include <cstddef>
#include <string>

namespace readback::score {

enum class SpiceCategory { kAll, kRelation, kAttribute, kObject, kColor, kCardinality, kSize };

// The names that the program itself uses, in the order of SpiceCategory.
inline constexpr std::array<const char*, 7> kSpiceCategories = {"All",   "Relation",    "Attribute", "Object",
                                                                "Color", "Cardinality", "Size"};

// Tuples (object), (object, attribute) and (object, relation, object) of the two scene graphs.
struct SpiceCounts {
  int matched = 0, candidate_only = 0, reference_only = 0;
  bool operator==(const SpiceCounts&) const = default;
};

using SpiceTable = std::array<SpiceCounts, kSpiceCategories.size()>;

// One caption against its references. Values are NaN when scoring failed, and in a category other than kAll of which
// the references have no tuple.
struct SpiceScore {
  SpiceTable table{};
  std::string failure;  // why there is no value; empty when there is one

  double precision(SpiceCategory category = SpiceCategory::kAll) const;
  double recall(SpiceCategory category = SpiceCategory::kAll) const;
  double f(SpiceCategory category = SpiceCategory::kAll) const;  // SPICE itself for kAll
};

}  // namespace readback::score
