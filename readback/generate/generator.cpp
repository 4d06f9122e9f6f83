#include "readback/generate/generator.h"

#include <nlohmann/json.hpp>

namespace readback::generate {

nlohmann::json Generator::identity() const { return {{"name", description()}}; }

}  // namespace readback::generate
