/** Rendered on the server alone: this page sends no script. */
export const csr = false;
