// The torch wheel holds c10d's ProcessGroupGloo.hpp but not the Gloo headers that it includes. It keeps their classes
// behind pointers only, so these declarations of our own are enough for readback/base/ranks.cpp to use it.
#pragma once
