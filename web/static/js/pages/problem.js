/** The page that says why another page cannot be shown. */

import { startHeader } from "../ui/header.js";

startHeader();
