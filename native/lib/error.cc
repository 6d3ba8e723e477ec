#include "gantry/error.h"
