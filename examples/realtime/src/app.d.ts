import type { Visitor } from '$lib/visitor';
import type { Platform as AdapterPlatform } from 'svelte-adapter-uws';

declare global {
  namespace App {
    interface Locals {
      visitor: Visitor;
    }
    type Platform = AdapterPlatform;
  }
}

export {};
