import type { Visitor } from '$lib/visitor';
import type { Platform as AdapterPlatform } from 'svelte-adapter-uws';
import type { Person as StoredPerson, Status as StoreStatus } from '$lib/server/stores/types';

declare global {
  namespace App {
    interface Locals {
      visitor: Visitor;
    }
    interface Platform extends AdapterPlatform {}

    // The data that src/live and the pages exchange. The types are global, because svelte-realtime copies the
    // signatures of live functions into the types of `$live/*` as they are written, without their imports.

    type Person = StoredPerson;

    interface Message {
      id: string;
      text: string;
      at: number;
      from: Person;
      /** The message is shown, but not yet known to be sent. */
      pending?: boolean;
    }

    interface Todo {
      id: string;
      text: string;
      done: boolean;
      by: string;
      pending?: boolean;
    }

    /** Returned by a form without JavaScript that was refused. */
    interface Returned {
      error: string;
      text: string;
    }

    interface Typing {
      key: string;
      name: string;
      at: number;
    }

    type Audience = 'everyone' | 'members' | 'admins';

    interface Broadcast {
      id: string;
      text: string;
      audience: Audience;
      from: Person;
      at: number;
    }

    type JobState = 'waiting' | 'running' | 'done' | 'cancelled';

    interface Job {
      id: string;
      name: string;
      by: string;
      state: JobState;
      /** The number of steps done, and of all steps. */
      step: number;
      steps: number;
      /** The instance that runs it. */
      owner?: string;
    }

    interface Reading {
      t: number;
      values: number[];
      /** The number of readings taken so far, and of those sent. */
      taken: number;
      sent: number;
    }

    type Status = StoreStatus;
  }
}

export {};
