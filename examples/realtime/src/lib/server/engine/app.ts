/**
 * The way to add native routes beside the adapter. Its handler makes the App, after it has imported
 * `hooks.ws`, and gives it to nobody. So a module that `hooks.ws` imports wraps the two functions that make
 * one, and adds its routes to the App before the adapter does. Each of CLUSTER_WORKERS imports `hooks.ws`
 * itself; the acceptor in the main thread does not, and passes connections on only.
 */
import uWS, { type AppOptions, type TemplatedApp } from 'uWebSockets.js';

export function withApp(addRoutes: (app: TemplatedApp) => void): void {
  const { App, SSLApp } = uWS;
  const added = (app: TemplatedApp) => {
    addRoutes(app);
    return app;
  };
  // The default export is the object of the CommonJS module, whose members can be replaced. The arguments are
  // passed on as they are: the original aborts where there is one that is undefined.
  Object.assign(uWS, {
    App: (...args: [AppOptions?]) => added(App(...args)),
    SSLApp: (...args: [AppOptions]) => added(SSLApp(...args)),
  });
}
