export function load({ getClientAddress, request }) {
  return {
    address: getClientAddress(),
    agent: request.headers.get('user-agent') ?? 'unknown',
    rendered: new Date().toISOString(),
  };
}
