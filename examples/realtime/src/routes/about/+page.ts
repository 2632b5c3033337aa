/** This page is rendered on the server only and sends no script. */
export const csr = false;
