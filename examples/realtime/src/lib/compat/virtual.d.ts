declare module 'virtual:svelte-adapter-uws-client' {
  export * from 'svelte-adapter-uws/client';
}
